"""What acts: policies trained with stable-baselines3, their export as plain data, and random ones."""

from wm_gym.policies.policy import Actor, Policy, RandomPolicy, load_policy

__all__ = ["Actor", "Policy", "RandomPolicy", "load_policy"]
