"""What acts: policies trained with stable-baselines3, and their export as plain data."""

from wm_gym.policies.policy import Policy, PredictingPolicy, load_policy

__all__ = ["Policy", "PredictingPolicy", "load_policy"]
