"""Windows that begin at many moments of recorded episodes, each with the episode that it was cut from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wm_gym.data.segments import Windows
from wm_gym.errors import DataError
from wm_gym.types import Episode, Segment

_AT_ONCE = 256


def cut_moments(
    episodes: Sequence[Episode], stride: int, context: int = 0, device: str = "cpu"
) -> Iterator[tuple[Segment, Tensor]]:
    """Cut windows at steps 0, ``stride``, 2 ``stride``, ... of each episode, each running to the episode's end.

    Args:
        episodes: recorded; a moment with no step after its ``context`` is left out.
        stride: steps between two moments.
        context: steps that are observed before the first imagined one.
        device: where the windows go.

    Yields:
        Batches of windows of similar length, padded to their longest, and (B,) the episode of each.

    Raises:
        DataError: no moment is left.
    """
    places = [(len(e) - t, n, t) for n, e in enumerate(episodes) for t in range(0, len(e) - context, stride)]
    if not places:
        raise DataError(f"no episode is longer than the {context} steps of context; record longer ones")
    places.sort()  # by length: little is padded
    for first in range(0, len(places), _AT_ONCE):
        batch = places[first : first + _AT_ONCE]
        rests = [_from_step(episodes[number], start) for _, number, start in batch]
        length = max(len(rest) for rest in rests)
        # A stride of a whole window cuts each rest once, at its beginning.
        parts = list(Windows(rests, length, device).all(length))
        assert len(parts) == 1, "a batch of rests is cut in one go"
        yield parts[0], torch.tensor([number for _, number, _ in batch])


def _from_step(episode: Episode, start: int) -> Episode:
    """What is left of an episode at a step, without its frames."""
    return replace(
        episode,
        observations=episode.observations[start:],
        actions=episode.actions[start:],
        rewards=episode.rewards[start:],
        frames={},
        qpos=None,
        qvel=None,
    )
