"""A robotics simulation environment backed by a learned world model.

``import wm_gym`` registers ``WorldModel-v0`` with Gymnasium and loads nothing heavy: the public names below are found
when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from wm_gym.errors import (
    ActionError,
    ConfigError,
    DataError,
    ModelError,
    ObservationError,
    RenderError,
    WorldModelError,
)
from wm_gym.registration import register

__version__ = "0.1.0"

_LAZY = {
    "Episode": "wm_gym.types",
    "TaskSpec": "wm_gym.types",
    "TrainedModel": "wm_gym.models",
    "list_models": "wm_gym.models",
    "load_model": "wm_gym.models",
    "WorldModelEnv": "wm_gym.envs",
    "WorldModelVectorEnv": "wm_gym.envs",
    "load_policy": "wm_gym.policies",
    "open_dataset": "wm_gym.data.episodes",
}

__all__ = [
    "ActionError",
    "ConfigError",
    "DataError",
    "ModelError",
    "ObservationError",
    "RenderError",
    "WorldModelError",
    *_LAZY,
]

register()


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'wm_gym' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
