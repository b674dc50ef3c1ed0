"""Imagined worlds behind the interfaces of Gymnasium and stable-baselines3 (the latter in ``wm_gym.envs.sb3``)."""

from wm_gym.envs.imagination import Imagination, RolloutState
from wm_gym.envs.imagination_config import ImaginationConfig
from wm_gym.envs.latent_observation import LatentObservation
from wm_gym.envs.safety_gate import SafetyGate
from wm_gym.envs.surprise import GateCalibration
from wm_gym.envs.vector_env import WorldModelVectorEnv
from wm_gym.envs.world_model_env import WorldModelEnv

__all__ = [
    "GateCalibration",
    "Imagination",
    "ImaginationConfig",
    "LatentObservation",
    "RolloutState",
    "SafetyGate",
    "WorldModelEnv",
    "WorldModelVectorEnv",
]
