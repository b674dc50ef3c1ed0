"""The one face that every judged world shows: follow given actions, or let an actor play.

A report knows nothing else of a world. So MuJoCo itself, and worlds that are wrong on purpose, can take the learned
world's place: if the report did not find them out, it would find nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wm_gym.evaluation.actors import Actor
from wm_gym.types import Episode, FloatArray

Track = Callable[[Sequence[int]], Iterable[int]]
"""Shows progress through the rows."""


@dataclass(frozen=True)
class Moments:
    """N physical states at which a world can begin, and what the robot observes there."""

    observations: FloatArray
    """(N, S) float32."""
    qpos: FloatArray
    """(N, nq) float64; a learned world does not look at it."""
    qvel: FloatArray
    """(N, nv) float64, likewise."""

    def __len__(self) -> int:
        return len(self.observations)

    def rows(self, index: FloatArray | Sequence[int] | slice) -> Moments:
        """The moments that ``index`` names."""
        return Moments(self.observations[index], self.qpos[index], self.qvel[index])

    def repeat(self, times: int) -> Moments:
        """Each moment ``times`` times, copies side by side."""
        return Moments(*(np.repeat(part, times, axis=0) for part in (self.observations, self.qpos, self.qvel)))


@dataclass(frozen=True)
class Followed:
    """What a world says of N sequences of H actions."""

    observations: FloatArray
    """(N, H, S) raw; not finite where it failed."""
    rewards: FloatArray
    """(N, H)."""
    continuation: FloatArray
    """(N, H): probability that the episode goes on after each step, given that it came so far."""
    uncertainty: FloatArray | None = None
    """(N, H): expected nRMSE; None where the world says nothing of it."""

    def returns(self) -> FloatArray:
        """(N,) expected sum of rewards: a step counts as far as the episode still runs there."""
        running = np.cumprod(self.continuation, axis=1)
        before = np.concatenate([np.ones((len(running), 1)), running[:, :-1]], axis=1)
        return np.asarray((before * self.rewards).sum(axis=1))


class World(Protocol):
    """A world that can be judged."""

    @property
    def name(self) -> str:
        """Stands in tables."""

    def follow(self, starts: Moments, actions: FloatArray) -> Followed:
        """Take the actions (N, H, A) from N moments, without chance where the world offers that."""

    def play(self, actor: Actor, starts: Moments, limit: int, seed: int, track: Track = iter) -> list[Episode]:
        """Let an actor act from N moments, each until its episode ends or ``limit`` steps are taken."""


def moments_of(episodes: Sequence[Episode], steps: Sequence[int] | int = 0) -> Moments:
    """The moment of each episode at its step; the episodes were recorded with their physical states."""
    chosen = [steps] * len(episodes) if isinstance(steps, int) else steps
    pairs = list(zip(episodes, chosen, strict=True))
    assert all(episode.qpos is not None and episode.qvel is not None for episode in episodes)
    return Moments(
        np.stack([np.asarray(episode.observations[step], dtype=np.float32) for episode, step in pairs]),
        np.stack([episode.qpos[step] for episode, step in pairs if episode.qpos is not None]),
        np.stack([episode.qvel[step] for episode, step in pairs if episode.qvel is not None]),
    )
