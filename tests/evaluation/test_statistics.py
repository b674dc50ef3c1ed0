"""Intervals and correlations against cases worked by hand."""

import numpy as np
import pytest

from wm_gym.evaluation import statistics as st


def rng():
    return np.random.default_rng(0)


def test_mean_of_a_constant_has_no_width():
    assert st.mean_interval(np.full(10, -3.0), rng()) == st.Interval(-3.0, -3.0, -3.0)


def test_mean_interval_is_close_to_the_normal_one():
    values = np.random.default_rng(1).normal(size=400)
    found = st.mean_interval(values, rng())
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.01)
    assert found.high == pytest.approx(values.mean() + half, abs=0.01)


def test_mean_interval_of_two_rows_is_known_exactly():
    # Resamples of {0, 1}: mean 0 with probability 1/4, 1/2 with 1/2, 1 with 1/4; so the 95% interval is [0, 1].
    assert st.mean_interval(np.array([0.0, 1.0]), rng()) == st.Interval(0.5, 0.0, 1.0)


def test_same_seed_same_interval():
    values = np.arange(7.0)
    assert st.mean_interval(values, rng()) == st.mean_interval(values, rng())


def test_paired_difference_cancels_what_the_rows_share():
    shared = np.array([-50.0, 0.0, 50.0])
    assert st.paired_difference_interval(shared, shared + 2.0, rng()) == st.Interval(2.0, 2.0, 2.0)


def test_clustered_mean_of_identical_rows_varies_with_the_groups_alone():
    # Groups {0, 0, 0} and {1, 1, 1}: rows add nothing, so it is the two-row case above.
    found = st.clustered_mean_interval([np.zeros(3), np.ones(3)], rng())
    assert found == st.Interval(0.5, 0.0, 1.0)


def test_clustered_mean_weighs_groups_not_rows():
    assert st.clustered_mean_interval([np.zeros(9), np.ones(1)], rng()).value == 0.5


def test_one_cluster_is_the_plain_mean():
    values = np.random.default_rng(2).normal(size=50)
    one, plain = st.clustered_mean_interval([values], rng()), st.mean_interval(values, rng())
    assert one.value == plain.value
    assert one.low == pytest.approx(plain.low, abs=0.05)
    assert one.high == pytest.approx(plain.high, abs=0.05)


def test_clusters_widen_the_interval():
    generator = np.random.default_rng(3)
    groups = [generator.normal(loc=mean, scale=0.1, size=100) for mean in (-1.0, 0.0, 1.0)]
    clustered, plain = st.clustered_mean_interval(groups, rng()), st.mean_interval(np.concatenate(groups), rng())
    assert clustered.high - clustered.low > 5 * (plain.high - plain.low)


def test_clustered_difference_of_constant_groups_is_exact():
    found = st.clustered_difference_interval([np.zeros(4)], [np.full(3, 2.0), np.full(5, 2.0)], rng())
    assert found == st.Interval(2.0, 2.0, 2.0)


def test_pearson_worked_by_hand():
    # x - mean = (-1, 0, 1), y - mean = (-1, 1, 0): 1 / sqrt(2 * 2) = 0.5.
    assert st.pearson(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])) == pytest.approx(0.5)


def test_spearman_sees_order_alone_and_shares_ties():
    x = np.array([1.0, 2.0, 3.0, 4.0])
    assert st.spearman(x, np.exp(x)) == pytest.approx(1.0)
    # Ranks (1, 2.5, 2.5, 4) against (1, 2, 3, 4): 4.5 / sqrt(4.5 * 5).
    assert st.spearman(np.array([1.0, 2.0, 2.0, 3.0]), x) == pytest.approx(4.5 / np.sqrt(4.5 * 5.0))


def test_correlation_with_a_constant_does_not_exist():
    constant = np.full(5, 0.1 + 0.2)
    assert np.isnan(st.pearson(constant, np.arange(5.0)))
    assert np.isnan(st.spearman(np.arange(5.0), constant))
    assert np.isnan(st.correlation_interval(constant, np.arange(5.0), rng()).low)


def test_correlation_of_small_numbers_exists():
    x = np.arange(5.0) * 1e-9
    assert st.pearson(x, 2 * x) == pytest.approx(1.0)


def test_correlation_interval_of_a_line_is_one():
    x = np.arange(20.0)
    found = st.correlation_interval(x, 3 * x - 1, rng(), resamples=200)
    assert (found.low, found.value, found.high) == pytest.approx((1.0, 1.0, 1.0))


def test_root_mean_square_counts_only_running_episodes():
    squares = np.array([[9.0, 4.0, 1.0], [9.0, 1e9, 1.0]])
    mask = np.array([[True, True, False], [True, False, False]])
    curve = st.root_mean_square_interval(squares, mask, rng(), resamples=100)
    assert curve.value[:2] == pytest.approx([3.0, 2.0])
    assert curve.low[:2] == pytest.approx([3.0, 2.0])
    assert np.isnan([curve.value[2], curve.low[2], curve.high[2]]).all()


@pytest.mark.parametrize("values", [np.array([]), np.array([1.0, np.nan]), np.ones((2, 2))])
def test_rows_that_have_no_mean_are_refused(values):
    with pytest.raises(ValueError, match="finite numbers"):
        st.mean_interval(values, rng())
