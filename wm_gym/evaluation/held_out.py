"""Episodes that no model has seen, or windows of them, side by side in one array."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wm_gym.data.episodes import Dataset
from wm_gym.errors import DataError
from wm_gym.types import BoolArray, Episode, FloatArray

IntArray = np.ndarray[Any, np.dtype[np.integer]]

CONTEXT = 1
"""Observed steps before the first predicted one: a constant velocity needs two observations to be causal."""
REACHED = 0.1
"""Share of the episodes that must still run at the last horizon that is judged."""


@dataclass(frozen=True)
class HeldOut:
    """N episodes of up to ``start`` + H steps. What lies after an episode's end repeats its last row, and is masked."""

    observations: FloatArray
    """(N, start+H+1, S) float64."""
    actions: FloatArray
    """(N, start+H, A)."""
    rewards: FloatArray
    """(N, start+H)."""
    running: BoolArray
    """(N, H): whether the step was recorded."""
    start: int
    """Observed steps before the first predicted one."""
    episodes: tuple[Episode, ...]

    @property
    def horizon(self) -> int:
        """H, predicted steps."""
        return int(self.running.shape[1])

    @property
    def truth(self) -> FloatArray:
        """(N, H, S) what a prediction is held against."""
        return self.observations[:, self.start + 1 :]

    @property
    def known(self) -> FloatArray:
        """(N, start+1, S) what a predictor may look at."""
        return self.observations[:, : self.start + 1]

    @property
    def future_actions(self) -> FloatArray:
        """(N, H, A) the actions whose effect is predicted."""
        return self.actions[:, self.start :]

    @property
    def future_rewards(self) -> FloatArray:
        """(N, H)."""
        return self.rewards[:, self.start :]

    @property
    def behaviours(self) -> tuple[str, ...]:
        """(N,) what acted."""
        return tuple(episode.behaviour for episode in self.episodes)

    def rows(self, chosen: Sequence[int]) -> HeldOut:
        """Some of the episodes, over the same horizon."""
        index = list(chosen)
        return HeldOut(
            self.observations[index],
            self.actions[index],
            self.rewards[index],
            self.running[index],
            self.start,
            tuple(self.episodes[i] for i in index),
        )


def stack_episodes(
    episodes: Sequence[Episode], horizon: int, context: int = CONTEXT, reached: float = REACHED
) -> HeldOut:
    """Lay episodes side by side. Those that end before the first predicted step are left out.

    Args:
        episodes: recorded by the evaluation.
        horizon: predicted steps; shortened to what enough episodes reach, as a figure of one or two episodes would
            say nothing.
        context: observed steps before the first predicted one.
        reached: share of the episodes that is enough; 0 for a single one.

    Raises:
        ValueError: no episode is longer than the context.
    """
    usable = tuple(episode for episode in episodes if len(episode) > context)
    if not usable:
        raise ValueError(f"no episode is longer than the {context} steps of context")
    lengths = np.array([len(episode) for episode in usable])
    enough = max(1, math.ceil(reached * len(usable)))
    steps = context + min(horizon, int(np.sort(lengths)[-enough]) - context)
    return HeldOut(
        observations=np.stack([_pad(episode.observations, steps + 1) for episode in usable]),
        actions=np.stack([_pad(episode.actions, steps) for episode in usable]),
        rewards=np.stack([_pad(episode.rewards, steps) for episode in usable]),
        running=np.arange(context, steps)[None, :] < lengths[:, None],
        start=context,
        episodes=usable,
    )


def stack_windows(episodes: Sequence[Episode], stride: int, horizon: int) -> tuple[HeldOut, IntArray]:
    """Windows that begin at steps 0, ``stride``, 2 ``stride``, ... of each episode, each running to the episode's end.

    Returns:
        The N windows, ``horizon`` steps long or as long as the longest; and (N,) the episode that each is cut from:
        windows of one episode overlap, and are never independent.

    Raises:
        ValueError: no episode is longer than the context.
    """
    windows, origins = [], []
    for origin, episode in enumerate(episodes):
        for start in range(0, len(episode) - CONTEXT, stride):
            windows.append(_from_step(episode, start))
            origins.append(origin)
    return stack_episodes(windows, horizon, reached=0.0), np.array(origins)


def _from_step(episode: Episode, start: int) -> Episode:
    """What is left of an episode at step ``start``."""
    return replace(
        episode,
        observations=episode.observations[start:],
        actions=episode.actions[start:],
        rewards=episode.rewards[start:],
        frames={},
        qpos=None if episode.qpos is None else episode.qpos[start:],
        qvel=None if episode.qvel is None else episode.qvel[start:],
    )


def check_held_out(held_out: Dataset, training: Dataset) -> None:
    """Refuse a recording that is no fair test of what was learnt from another one.

    Raises:
        DataError: they are of two robots, or an episode begins in both with the same observation and action, as one
            recorded twice from the same seed does.
    """
    spaces = [(dataset.task.observation_space.size, dataset.task.action_space.size) for dataset in (held_out, training)]
    if spaces[0] != spaces[1] or held_out.task.env_id != training.task.env_id:
        raise DataError(
            f"{held_out.folder} records {held_out.task.name} and {training.folder} {training.task.name}: "
            "held-out episodes must be of the same robot"
        )
    known = {_beginning(episode) for episode in training.episodes()}
    shared = sum(_beginning(episode) in known for episode in held_out.episodes())
    if shared:
        raise DataError(
            f"{held_out.folder} is no held-out recording: {shared} of its {len(held_out)} episodes begin as one in "
            f"{training.folder}; record it with another seed=..."
        )


def _beginning(episode: Episode) -> bytes:
    """The first observation and action."""
    return np.concatenate([episode.observations[0], episode.actions[0]]).astype(np.float32).tobytes()


def _pad(rows: FloatArray, length: int) -> FloatArray:
    """The first ``length`` rows as float64, the last one repeated where there are fewer."""
    kept = np.asarray(rows[:length], dtype=np.float64)
    missing: Any = [(0, length - len(kept))] + [(0, 0)] * (kept.ndim - 1)
    return np.pad(kept, missing, mode="edge")
