"""Twins: the same actions from the same state in imagination and in MuJoCo, and where the two part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from wm_gym.envs.spaces import batched_actions
from wm_gym.errors import ConfigError, ObservationError
from wm_gym.evaluation.labels import number_label
from wm_gym.evaluation.worlds import LearnedWorld, Moments, PhysicsWorld
from wm_gym.models import TrainedModel, load_model
from wm_gym.types import FloatArray


@dataclass(frozen=True)
class Parting:
    """Where one pair of twins parts."""

    step: int
    """The first step, counted from 1, after which a number differs by more than ``tau``."""
    dimension: int
    """The number that differs most there."""
    label: str
    """What that number is, as far as the recording says."""
    difference: float
    """Imagined minus physical, in standard deviations of the training data."""


@dataclass(frozen=True)
class Twins:
    """N pairs of trajectories from N states, along the same actions."""

    imagined: FloatArray
    """(N, H+1, S) raw observations: the ensemble's mean, beginning at the state itself."""
    physical: FloatArray
    """(N, H+1, S) likewise; after an episode's end its last observation stays."""
    imagined_rewards: FloatArray
    """(N, H)."""
    physical_rewards: FloatArray
    """(N, H); zero after an episode's end."""
    lengths: FloatArray
    """(N,) steps until the physical episode ended by itself, H where it did not."""
    partings: tuple[Parting | None, ...]
    """Of each pair; None where they stay together as long as the physical episode runs."""


class Twin:
    """One model and its robot, to be sent through the same actions."""

    def __init__(self, model: str | Path | TrainedModel) -> None:
        """Load both worlds.

        Args:
            model: name of a shipped model, a model folder, or a loaded model.

        Raises:
            ModelError: the model does not exist, or needs several observations to begin.
            ConfigError: there is no simulator of its task.
        """
        self.trained = model if isinstance(model, TrainedModel) else load_model(model)
        self._imagination = LearnedWorld(self.trained)
        self._physics = PhysicsWorld(self.trained.task)

    def close(self) -> None:
        """Free the physics."""
        self._physics.close()

    def resets(self, seeds: Sequence[int]) -> Moments:
        """The states in which MuJoCo begins when reset with these seeds."""
        return self._physics.resets(seeds)

    def run(self, starts: Moments, actions: FloatArray, tau: float = 0.3) -> Twins:
        """Take the same actions in both worlds.

        Args:
            starts: N states, of :meth:`resets` or of recorded episodes
                (:func:`~wm_gym.evaluation.worlds.moments_of`).
            actions: (N, H, A), or (H, A) for all; clipped to the action space.
            tau: difference in any number, in standard deviations of the training data, at which twins part.

        Raises:
            ActionError: an action is not finite or has the wrong shape.
            ObservationError: a start is not finite.
            ConfigError: ``tau`` is not positive, or there is nothing to run.
        """
        if not (np.isfinite(tau) and tau > 0):
            raise ConfigError(f"tau={tau!r}: a positive number of standard deviations is needed")
        taken = self._checked(np.asarray(actions), len(starts))
        if not all(np.isfinite(part).all() for part in (starts.observations, starts.qpos, starts.qvel)):
            raise ObservationError("a twin's start holds a value that is not finite")
        believed, true = (world.follow(starts, taken) for world in (self._imagination, self._physics))
        first = np.asarray(starts.observations, dtype=np.float64)[:, None]
        imagined, physical = (np.concatenate([first, found.observations], axis=1) for found in (believed, true))
        ended = true.continuation <= 0
        lengths = np.where(ended.any(1), ended.argmax(1) + 1, taken.shape[1])
        normalizer = self.trained.model.normalizer
        # A number that never moved in the data has no deviation to measure by.
        scaled = (imagined - physical) / normalizer.std.double().cpu().numpy() * normalizer.moving.cpu().numpy()
        partings = tuple(self._parting(row[: length + 1], tau) for row, length in zip(scaled, lengths, strict=True))
        return Twins(imagined, physical, believed.rewards, true.rewards, lengths, partings)

    def _checked(self, actions: FloatArray, rows: int) -> FloatArray:
        """(N, H, A) float32, finite and within the action space."""
        task = self.trained.task
        if actions.ndim == 2:
            actions = np.repeat(actions[None], rows, axis=0)
        if actions.ndim != 3 or len(actions) != rows or not rows or not actions.shape[1]:
            wanted = f"({rows}, H, {task.action_space.size})"
            raise ConfigError(f"twins of {rows} states need actions {wanted}, not {np.shape(actions)}")
        steps = (batched_actions(actions[:, step], task, rows, self._device) for step in range(actions.shape[1]))
        return np.stack([step.cpu().numpy() for step in steps], axis=1)

    @property
    def _device(self) -> torch.device:
        return self.trained.model.normalizer.mean.device

    def _parting(self, scaled: FloatArray, tau: float) -> Parting | None:
        """Where differences (T+1, S) first exceed ``tau``; one that is no number exceeds everything."""
        sizes = np.nan_to_num(np.abs(scaled), nan=np.inf)
        apart = np.flatnonzero(sizes.max(1) > tau)
        if not len(apart):
            return None
        step = int(apart[0])
        dimension = int(sizes[step].argmax())
        label = number_label(dimension, self.trained.task.observation_map)
        return Parting(step, dimension, label, float(scaled[step, dimension]))
