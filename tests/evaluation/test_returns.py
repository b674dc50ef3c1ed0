"""Returns in both worlds, worked by hand on a point that moves by its action."""

import numpy as np
import pytest

from wm_gym.evaluation import returns
from wm_gym.evaluation.actors import RandomActor


def rng():
    return np.random.default_rng(0)


@pytest.fixture
def contender(task):
    return returns.Contender("random", "random", RandomActor(task.action_space, 0), {"seed": 0})


def played(world, task, contender, promise):
    make = lambda count: world.Imagination(count, promise=promise)  # noqa: E731
    return returns.play_both_worlds(contender, world.Env(), make, range(100, 120), task.control_dt, 0)


def test_an_exact_imagination_has_no_gap(world, task, contender):
    found = returns.compare_returns(contender, *played(world, task, contender, promise=0.0), world.limit, rng())
    assert found.imagined_returns == pytest.approx(found.physical_returns, abs=1e-4)
    assert (found.gap.low, found.gap.high) == pytest.approx((0.0, 0.0), abs=1e-4)
    assert found.pearson.low == pytest.approx(1.0)
    assert found.physical_length == found.imagined_length == world.limit


def test_a_promising_imagination_has_the_gap_that_it_promised(world, task, contender):
    found = returns.compare_returns(contender, *played(world, task, contender, promise=0.5), world.limit, rng())
    expected = 0.5 * world.limit
    assert (found.gap.low, found.gap.value, found.gap.high) == pytest.approx((expected,) * 3, abs=1e-4)
    assert found.absolute_error.value == pytest.approx(expected, abs=1e-4)
    assert found.imagined.value - found.physical.value == pytest.approx(expected, abs=1e-4)
    assert found.spearman.value == pytest.approx(1.0)
    assert found.left_bounds == 0
    assert (
        returns.compare_returns(contender, *played(world, task, contender, 0.5), world.limit + 1, rng()).left_bounds
        == 20
    )


def test_pooling_weighs_training_seeds_alike():
    low = returns.recorded_returns("a", "control", np.full(10, -8.0), rng())
    high = returns.recorded_returns("b", "control", np.full(2, -4.0), rng())
    pooled = returns.pool("both", [low, high], rng())
    assert (pooled.physical.value, pooled.physical.low, pooled.physical.high) == (-6.0, -8.0, -4.0)
    assert pooled.imagined is None and pooled.gap is None and pooled.seeds == 2


def test_difference_between_methods():
    first = [returns.recorded_returns("a", "control", np.full(10, -8.0), rng())]
    second = [returns.recorded_returns("b", "imagination", np.full(10, -5.0), rng())]
    found = returns.difference(first, second, rng())
    assert (found.low, found.value, found.high) == (3.0, 3.0, 3.0)
