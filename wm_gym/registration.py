"""Registers ``WorldModel-v0`` by strings alone: nothing is imported until an environment is made."""

import gymnasium as gym

ENV_ID = "WorldModel-v0"


def register() -> None:
    """Make ``WorldModel-v0`` known to Gymnasium. Its own episode limit is the model's, so the spec sets none."""
    if ENV_ID not in gym.registry:
        gym.register(
            id=ENV_ID,
            entry_point="wm_gym.envs.world_model_env:WorldModelEnv",
            vector_entry_point="wm_gym.envs.vector_env:WorldModelVectorEnv",
        )
