import numpy as np
import pytest
import torch
from scipy import stats

from wm_gym.envs.noise import RowNoise, Stream, uniform


def test_a_row_draws_the_same_in_any_batch():
    seeds = torch.arange(100, 200)
    counters = torch.arange(100)
    batch = uniform(seeds, counters, Stream.DYNAMICS, 5)
    alone = uniform(seeds[37:38], counters[37:38], Stream.DYNAMICS, 5)
    assert torch.equal(batch[37:38], alone)


def test_numbers_lie_strictly_between_zero_and_one_and_are_uniform():
    drawn = uniform(torch.arange(1000), torch.zeros(1000, dtype=torch.int64), Stream.DYNAMICS, 50)
    assert drawn.min() > 0 and drawn.max() < 1
    assert stats.kstest(drawn.flatten().double().numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("axis", ["seed", "counter", "stream", "place"])
def test_neighbours_on_every_axis_are_uncorrelated(axis):
    base = torch.arange(20_000)
    zero = torch.zeros_like(base)
    if axis == "seed":
        drawn = uniform(base, zero, Stream.DYNAMICS, 1)[:, 0]
        first, second = drawn[:-1], drawn[1:]
    elif axis == "counter":
        drawn = uniform(zero, base, Stream.DYNAMICS, 1)[:, 0]
        first, second = drawn[:-1], drawn[1:]
    elif axis == "stream":
        first, second = (uniform(base, zero, s, 1)[:, 0] for s in (Stream.DYNAMICS, Stream.TERMINATION))
    else:
        first, second = uniform(base, zero, Stream.DYNAMICS, 2).unbind(-1)
    correlation = np.corrcoef(first.numpy(), second.numpy())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(len(first))


def test_negative_and_large_seeds_are_seeds_too():
    seeds = torch.tensor([-1, 2**40, 2**62, 0])
    drawn = uniform(seeds, torch.zeros(4, dtype=torch.int64), Stream.START, 1)[:, 0]
    assert len(set(drawn.tolist())) == 4


def test_streams_side_by_side_are_those_drawn_alone():
    seeds = torch.tensor([0, 1, -5, 2**40 + 3, -(2**62), 2**63 - 1])
    noise = RowNoise({Stream.DYNAMICS: 7, Stream.TERMINATION: 1, Stream.MEMBER: 3})
    for counters in (torch.zeros(6, dtype=torch.int64), torch.tensor([0, 1, 2, 3, 10**6, 2**33])):
        wanted = [uniform(seeds, counters, stream, size) for stream, size in ((1, 7), (2, 1), (4, 3))]
        drawn = noise.draw(seeds.numpy(), counters.numpy())
        assert drawn.dtype == np.float32 and np.array_equal(drawn, torch.cat(wanted, -1).numpy())
    other = noise.draw(seeds.numpy()[::-1], counters.numpy())
    assert np.array_equal(other[:, :7], uniform(seeds.flip(0), counters, Stream.DYNAMICS, 7).numpy())
