"""Windows of recorded episodes for training, and the split of a dataset by whole episode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from wm_gym.errors import ConfigError, DataError
from wm_gym.types import Episode, Segment

MIN_EPISODES = 2
"""Each part of a split holds at least this many episodes: one alone says nothing about how episodes differ."""


@dataclass(frozen=True)
class Split:
    """Which episodes serve which purpose. No episode is in two parts."""

    train: tuple[int, ...]
    """What the model is fitted to, and what its normalisation is computed from."""
    validation: tuple[int, ...]
    """What the model is selected on."""
    calibration: tuple[int, ...]
    """What its uncertainty is calibrated on; neither fitting nor selection has seen it."""


class Recorded(Protocol):
    """What a split needs to know of a dataset: how many episodes it has, and what acted in each."""

    def __len__(self) -> int:
        """Number of episodes."""

    @property
    def behaviours(self) -> tuple[str, ...]:
        """What acted in each."""


def split_episodes(dataset: Recorded, seed: int, validation: float = 0.1, calibration: float = 0.1) -> Split:
    """Split a dataset by whole episode, each behaviour in proportion as far as its number of episodes allows.

    Validation and calibration hold at least ``MIN_EPISODES`` episodes each, however small their fraction, and so does
    what is left for training. A behaviour with too few episodes for every part stays in training.

    Args:
        dataset: anything with a length and ``behaviours``.
        seed: the same seed and dataset give the same split.
        validation: fraction of the episodes.
        calibration: fraction of the episodes.

    Raises:
        ConfigError: the fractions leave nothing to train on.
        DataError: too few episodes; says how many are needed.
    """
    if not (validation > 0 and calibration > 0 and validation + calibration < 1):
        raise ConfigError(
            f"validation={validation} and calibration={calibration}: both must be above 0 and their sum below 1"
        )
    sizes = _part_sizes(len(dataset), validation, calibration)
    if sizes[0] < MIN_EPISODES:
        needed = next(n for n in count(3 * MIN_EPISODES) if _part_sizes(n, validation, calibration)[0] >= MIN_EPISODES)
        raise DataError(
            f"{len(dataset)} episodes are too few to split into training, validation and calibration by whole "
            f"episode: at least {needed} are needed ({MIN_EPISODES} in each part); record more steps"
        )
    order = _interleave(dataset.behaviours, np.random.default_rng(seed))
    held_out = sizes[1] + sizes[2]
    return Split(
        train=tuple(sorted(order[held_out:])),
        validation=tuple(sorted(order[: sizes[1]])),
        calibration=tuple(sorted(order[sizes[1] : held_out])),
    )


def _part_sizes(episodes: int, validation: float, calibration: float) -> tuple[int, int, int]:
    """Episodes for training, validation and calibration."""
    held_out = [max(MIN_EPISODES, round(fraction * episodes)) for fraction in (validation, calibration)]
    return episodes - sum(held_out), held_out[0], held_out[1]


def _interleave(behaviours: Sequence[str], rng: np.random.Generator) -> list[int]:
    """Shuffle the episodes so that every stretch of the list holds the behaviours in proportion.

    Within its behaviour an episode gets the place (i + 0.5) / n of n; sorting by place deals the behaviours evenly.
    """
    tie = rng.permutation(len(behaviours))
    place = np.empty(len(behaviours))
    for behaviour in sorted(set(behaviours)):
        members = np.flatnonzero(np.array(behaviours) == behaviour)
        place[rng.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    return [int(index) for index in np.lexsort((tie, place))]


class Windows:
    """Episodes packed once into tensors, from which batches of windows are cut.

    Each episode takes T+1 rows; the last one, which no action leaves, has zero action, reward and termination. A
    window that passes its episode's end stays on that row: it repeats the last observation, and ``mask`` is 0.
    """

    def __init__(
        self,
        episodes: Sequence[Episode],
        length: int,
        device: torch.device | str = "cpu",
        share_of_beginnings: float = 0.0,
    ) -> None:
        """Pack the episodes; they must agree in their sizes and cameras.

        Args:
            episodes: at least one.
            length: L, steps of a window.
            device: where the packed tensors and the batches live.
            share_of_beginnings: of the windows of :meth:`sample`, those that begin where an episode does. A model with
                a memory needs them: only there is it right to remember nothing.
        """
        if length < 1:
            raise ConfigError(f"a window of {length} steps: it needs at least 1")
        if not episodes:
            raise DataError("no episodes to cut windows from")
        _check_alike(episodes)
        self.length = length
        self._observations = _pack(device, [episode.observations for episode in episodes])
        self._actions = _pack(device, [_with_final_row(episode.actions) for episode in episodes])
        self._rewards = _pack(device, [_with_final_row(episode.rewards) for episode in episodes])
        self._terminations = _pack(device, [_with_final_row(episode.terminations) for episode in episodes])
        self._frames = {
            camera: torch.from_numpy(np.concatenate([episode.frames[camera] for episode in episodes])).to(device)
            for camera in episodes[0].frames
        }
        lengths = np.array([len(episode) for episode in episodes])
        final = np.cumsum(lengths + 1) - 1
        step = np.concatenate([np.arange(steps) for steps in lengths])
        self._final = torch.from_numpy(np.repeat(final, lengths)).to(device)
        self._start = self._final - torch.from_numpy(np.repeat(lengths, lengths) - step).to(device)
        self._step = torch.from_numpy(step).to(device)
        self._offsets = torch.arange(length + 1, device=device)
        self._beginnings, self._share = torch.nonzero(self._step == 0).squeeze(1), share_of_beginnings

    def __len__(self) -> int:
        """Start positions: every recorded step is one."""
        return len(self._start)

    def sample(self, batch_size: int, generator: torch.Generator) -> Segment:
        """Windows whose first steps are drawn uniformly, with replacement, over all recorded steps.

        But for the share of beginnings: their episodes are drawn uniformly.
        """
        device = self._start.device
        chosen = torch.randint(len(self), (batch_size,), generator=generator, device=generator.device).to(device)
        if (count := round(self._share * batch_size)) > 0:
            first = torch.randint(len(self._beginnings), (count,), generator=generator, device=generator.device)
            chosen[:count] = self._beginnings[first.to(device)]
        return self._cut(chosen)

    def all(self, stride: int, batch_size: int = 1024) -> Iterator[Segment]:
        """The windows that start at steps 0, ``stride``, 2 ``stride``, ... of each episode, in recorded order."""
        if stride < 1:
            raise ConfigError(f"a stride of {stride} steps: it needs at least 1")
        chosen = torch.nonzero(self._step % stride == 0).squeeze(1)
        for batch in torch.split(chosen, batch_size):
            yield self._cut(batch)

    def _cut(self, chosen: Tensor) -> Segment:
        """The windows at the given start positions (B,)."""
        final = self._final[chosen, None]
        rows = torch.minimum(self._start[chosen, None] + self._offsets, final)
        steps = rows[:, :-1]
        return Segment(
            observations=self._observations[rows],
            actions=self._actions[steps],
            rewards=self._rewards[steps],
            terminations=self._terminations[steps],
            mask=(steps < final).float(),
            frames={camera: frames[rows] for camera, frames in self._frames.items()},
            begins=(self._step[chosen] == 0).float(),
        )


def _check_alike(episodes: Sequence[Episode]) -> None:
    first = episodes[0]
    for index, episode in enumerate(episodes):
        for name in ("observations", "actions"):
            expected, found = getattr(first, name).shape[1:], getattr(episode, name).shape[1:]
            if found != expected:
                raise DataError(f"episode {index} of the batch has {name} of shape {found}, the first {expected}")
        if set(episode.frames) != set(first.frames):
            raise DataError(
                f"episode {index} of the batch has cameras {sorted(episode.frames)}, the first {sorted(first.frames)}"
            )


def _with_final_row(steps: np.ndarray) -> np.ndarray:
    """(T, ...) -> (T+1, ...): the row of the last observation, all zero."""
    return np.concatenate([steps, np.zeros((1, *steps.shape[1:]), steps.dtype)])


def _pack(device: torch.device | str, arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays).astype(np.float32)).to(device)
