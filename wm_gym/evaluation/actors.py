"""What acts while worlds are compared: the same decisions in the physics and in the imagination."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from wm_gym.policies import PredictingPolicy
from wm_gym.types import BoxSpec, FloatArray

IntArray = np.ndarray[Any, np.dtype[np.integer]]


class Actor(Protocol):
    """Chooses the actions of a batch of episodes that run side by side."""

    def act(self, observation: FloatArray, episodes: IntArray, step: int) -> FloatArray:
        """Act on raw observations (B, S) of the episodes numbered ``episodes`` (B,), all at ``step``: (B, A)."""
        ...


class PolicyActor:
    """A trained policy without exploration noise, its actions clipped to the space.

    MuJoCo's environments charge the *unclipped* action although the motor saturates; the imagined ones clip. Clipping
    here keeps the two worlds comparable.
    """

    def __init__(self, policy: PredictingPolicy, space: BoxSpec) -> None:
        self._policy = policy
        self._low, self._high = _bounds(space)

    def act(self, observation: FloatArray, episodes: IntArray, step: int) -> FloatArray:
        """See :class:`Actor`."""
        actions, _ = self._policy.predict(observation, deterministic=True)
        return np.clip(np.asarray(actions, dtype=np.float32), self._low, self._high)


class RandomActor:
    """Uniform random actions, or smooth ones; each depends on the seed, the episode and the step alone.

    So an episode meets the same actions in both worlds, and its two returns can be paired.
    """

    def __init__(self, space: BoxSpec, seed: int, memory: float = 0.0) -> None:
        """Args: ``memory`` in [0, 1) is the correlation between two steps; 0 draws uniformly."""
        self._low, self._high = _bounds(space)
        self._seed = seed
        self._memory = memory
        self._tables: dict[int, FloatArray] = {}

    def act(self, observation: FloatArray, episodes: IntArray, step: int) -> FloatArray:
        """See :class:`Actor`."""
        return np.stack([self._table(int(episode), step)[step] for episode in episodes])

    def _table(self, episode: int, step: int) -> FloatArray:
        """Actions of an episode up to ``step`` at least. Longer tables begin with the shorter ones."""
        table = self._tables.get(episode)
        if table is None or len(table) <= step:
            table = self._draw(np.random.default_rng((self._seed, episode)), 2 ** int(step + 64).bit_length())
            self._tables[episode] = table
        return table

    def _draw(self, generator: np.random.Generator, length: int) -> FloatArray:
        if self._memory == 0.0:
            return generator.uniform(self._low, self._high, size=(length, len(self._low))).astype(np.float32)
        noise = generator.normal(size=(length, len(self._low)))
        for row in range(1, length):
            noise[row] = self._memory * noise[row - 1] + np.sqrt(1.0 - self._memory**2) * noise[row]
        middle, half = (self._high + self._low) / 2.0, (self._high - self._low) / 2.0
        return np.clip(middle + 0.7 * half * noise, self._low, self._high).astype(np.float32)


class GroupActor:
    """Several actors over one batch: the first plays the first ``episodes`` rows, the second the next, and so on."""

    def __init__(self, actors: Sequence[Actor], episodes: int) -> None:
        self._actors, self._episodes = actors, episodes

    def act(self, observation: FloatArray, episodes: IntArray, step: int) -> FloatArray:
        """See :class:`Actor`; each actor is told the number of the episode among its own."""
        owner, number = np.divmod(np.asarray(episodes), self._episodes)
        parts = {int(index): owner == index for index in np.unique(owner)}
        acts = {index: self._actors[index].act(observation[of], number[of], step) for index, of in parts.items()}
        actions = np.empty((len(owner), next(iter(acts.values())).shape[1]), dtype=np.float32)
        for index, of in parts.items():
            actions[of] = acts[index]
        return actions


def _bounds(space: BoxSpec) -> tuple[FloatArray, FloatArray]:
    """The bounds of an action space; an end that does not exist is taken at one unit."""
    low, high = np.array(space.low, dtype=np.float32), np.array(space.high, dtype=np.float32)
    return np.where(np.isfinite(low), low, -1.0), np.where(np.isfinite(high), high, 1.0)
