"""A robot that is watched while it is recorded: a policy on latent states acts, and everything is stored."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from wm_gym.envs import LatentObservation
from wm_gym.models import TrainedModel
from wm_gym.physics.pixels import CameraObservation
from wm_gym.physics.tasks import make_physics
from wm_gym.policies.policy import Policy
from wm_gym.types import TaskSpec

Array = np.ndarray[Any, np.dtype[Any]]


class WatchedRobot(gym.Wrapper[Array, Array, Any, Array]):
    """A physical environment that shows its state, (S,), while a camera model's filter looks at its frames."""

    def __init__(self, task: TaskSpec, trained: TrainedModel) -> None:
        """Open robot and camera; ``task`` has the cameras that the model looks through."""
        self._remembering = _Remembering(make_physics(task))
        super().__init__(LatentObservation(CameraObservation(self._remembering, task), trained))
        self.observation_space = self._remembering.observation_space
        self.vector: Array = np.zeros(0, np.float32)
        """(D,) the latent state that the filter has now."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin an episode: the state (S,), and the environment's own info."""
        self.vector, info = self.env.reset(seed=seed, options=options)
        return self._remembering.last, info

    def step(self, action: Array) -> tuple[Array, Any, bool, bool, dict[str, Any]]:
        """Act, (A,), and look."""
        self.vector, reward, terminated, truncated, info = self.env.step(action)
        return self._remembering.last, reward, terminated, truncated, info


class WatchingPolicy:
    """A policy on latent vectors, where one on states is wanted: it acts on what the robot's camera shows."""

    def __init__(self, policy: Policy, robot: WatchedRobot) -> None:
        """Of the robot that it acts on."""
        self._policy, self._robot = policy, robot

    def predict(self, observation: Array, *, deterministic: bool = True) -> tuple[Array, Any]:
        """Action (A,); the state (S,) is not looked at."""
        return self._policy.predict(self._robot.vector, deterministic=deterministic)


class _Remembering(gym.ObservationWrapper[Any, Any, Any]):
    """Shows what the environment does, and keeps the last of it."""

    last: Array

    def observation(self, observation: Any) -> Any:
        """As it is."""
        self.last = observation
        return observation
