"""Learned world models: the contract, the families behind it, and how one is fitted, saved and loaded."""

from wm_gym.models.trained import TrainedModel, list_models, load_model
from wm_gym.models.world_model import WorldModel

__all__ = ["TrainedModel", "WorldModel", "list_models", "load_model"]
