"""Windows from many moments, on episodes whose numbers say where they come from."""

import numpy as np
import pytest

from wm_gym.data.moments import cut_moments
from wm_gym.errors import DataError
from wm_gym.types import Episode


def episode(number, steps):
    """Observation 100 number + step."""
    return Episode(
        observations=(100 * number + np.arange(steps + 1, dtype=np.float32))[:, None],
        actions=np.arange(steps, dtype=np.float32)[:, None],
        rewards=np.zeros(steps, np.float32),
        terminated=False,
        truncated=True,
        control_dt=0.1,
    )


def test_every_moment_runs_to_the_end_of_its_episode():
    [(segment, episodes)] = cut_moments([episode(0, 5), episode(1, 12)], stride=5)
    found = sorted(
        (int(owner), int(first), int(mask.sum()))
        for owner, first, mask in zip(episodes, segment.observations[:, 0, 0], segment.mask, strict=True)
    )
    assert found == [(0, 0, 5), (1, 100, 12), (1, 105, 7), (1, 110, 2)]
    assert segment.mask.shape == (4, 12)


def test_a_moment_without_a_step_after_its_context_is_left_out():
    [(_, episodes)] = cut_moments([episode(0, 5), episode(1, 12)], stride=5, context=5)
    assert episodes.tolist() == [1, 1]
    with pytest.raises(DataError, match="longer than the 5 steps of context"):
        list(cut_moments([episode(0, 5)], stride=5, context=5))
