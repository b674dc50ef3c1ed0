"""The crossed bootstrap against figures known beforehand."""

import numpy as np
import pytest

from wm_gym.evaluation.resampling import Resampled, Resampling, weighted_mean


def rng():
    return np.random.default_rng(0)


def means(values):
    mask = np.ones(np.shape(values), dtype=bool)
    return lambda weights: weighted_mean(weights, np.asarray(values, dtype=float), mask)


def test_windows_of_an_episode_are_drawn_together():
    weights = Resampling([7, 7, 3, 7, 3], rng(), resamples=50).weights
    assert weights.shape == (50, 5)
    assert (weights[:, [0, 0]] == weights[:, [1, 3]]).all() and (weights[:, 2] == weights[:, 4]).all()
    assert (weights[:, 0] + weights[:, 2] == 2).all()


def test_the_mean_over_seeds_and_its_interval():
    """Two seeds that differ by 1 everywhere: the bootstrap of two draws both, one or the other."""
    found = Resampling(np.arange(4), rng(), resamples=4000).over_seeds([means(np.zeros(4)), means(np.ones(4))])
    assert found.value == pytest.approx(0.5)
    assert sorted(set(found.samples.tolist())) == [0.0, 0.5, 1.0]
    assert np.mean(found.samples == 0.5) == pytest.approx(0.5, abs=0.05)
    curve = found.interval()
    assert (float(curve.value), float(curve.low), float(curve.high)) == (0.5, 0.0, 1.0)


def test_standard_error_of_a_mean_over_episodes():
    values = rng().normal(size=400)
    found = Resampling(np.arange(400), rng(), resamples=4000).over_seeds([means(values)])
    assert found.samples.std() == pytest.approx(values.std() / 20, rel=0.1)
    both = Resampling(np.repeat(np.arange(400), 3), rng(), resamples=4000).over_seeds([means(np.repeat(values, 3))])
    assert both.samples.std() == pytest.approx(values.std() / 20, rel=0.1)  # copies of a window are no more evidence


def test_a_ratio_is_paired():
    resampling = Resampling(np.arange(30), rng())
    values = rng().uniform(1, 2, size=30)
    ratio = resampling.over_seeds([means(3 * values)]) / resampling.over_seeds([means(values)])
    curve = ratio.interval()
    assert (float(curve.low), float(curve.high)) == pytest.approx((3.0, 3.0))


def test_what_does_not_exist_is_nan_and_spoils_nothing_else():
    values, mask = np.array([[1.0, 5.0], [3.0, 6.0]]), np.array([[True, False], [True, False]])
    found = Resampling([0, 1], rng()).over_seeds([lambda weights: weighted_mean(weights, values, mask)])
    curve = found.interval()
    assert curve.value[0] == pytest.approx(2.0) and np.isnan([curve.value[1], curve.low[1], curve.high[1]]).all()
    assert np.isnan((Resampled(np.array(0.0), np.zeros(3)) / Resampled(np.array(0.0), np.zeros(3))).value)
