"""Each figure against a case that is worked by hand."""

import numpy as np
import pytest

from wm_gym.evaluation import ranking
from wm_gym.evaluation.statistics import interquartile_mean, pearson, spearman


def rng():
    return np.random.default_rng(0)


def test_correlations_by_hand():
    # Means 2 and 2; deviations (-1, 0, 1) and (-1, 1, 0): 1 / 2.
    assert pearson([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)
    # Ranks (1, 2, 3, 4) and (1, 2.5, 2.5, 4): 4.5 / sqrt(5 * 4.5).
    assert spearman([1, 2, 3, 4], [10, 20, 20, 90]) == pytest.approx(4.5 / np.sqrt(22.5))
    # Of six pairs five agree and one does not.
    assert ranking.kendall([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(4 / 6)
    # One pair tied on one side: 5 / sqrt(6 * 5).
    assert ranking.kendall([1, 2, 3, 4], [10, 20, 20, 90]) == pytest.approx(5 / np.sqrt(30))


def test_a_constant_side_has_no_correlation():
    for statistic in (pearson, spearman, ranking.kendall):
        assert np.isnan(statistic([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]))
        assert np.isnan(statistic([1.0, 2.0, 3.0], [0.1, 0.1, 0.1]))
    assert np.isnan(ranking.mmrv(physical=[1.0, 1.0], imagined=[1.0, 2.0]))
    assert np.isnan(ranking.mmrv(physical=[1.0, 2.0], imagined=[1.0, 1.0]))


def test_rank_violation_by_hand():
    # The second and third are swapped, 4 apart: (0 + 4 + 4) / 3.
    assert ranking.mmrv(physical=[0, 1, 5], imagined=[0, 9, 2]) == pytest.approx(8 / 3)
    # A tie of the first two, 1 apart, is a violation for both: (1 + 1 + 0) / 3, whichever comes first.
    assert ranking.mmrv(physical=[0, 1, 5], imagined=[2, 2, 9]) == pytest.approx(2 / 3)
    assert ranking.mmrv(physical=[1, 0, 5], imagined=[2, 2, 9]) == pytest.approx(2 / 3)
    # Policies that the physics holds for equal may stand in any order.
    assert ranking.mmrv(physical=[0, 0, 5], imagined=[1, 2, 9]) == 0
    # Asymmetric: the cost is counted in physical return.
    assert ranking.mmrv(physical=[0, 9, 2], imagined=[0, 1, 5]) == pytest.approx(14 / 3)
    with pytest.raises(TypeError):
        ranking.mmrv([0, 1], [1, 0])


def test_regret_by_hand():
    # The imagination prefers the policy of 3, then that of 10.
    assert ranking.regret(physical=[10, 3, 5], imagined=[8, 9, 1]) == 7
    assert ranking.regret(physical=[10, 3, 5], imagined=[8, 9, 1], top=2) == 0
    # Of two that it holds for equal, the worse is chosen; all equal is the worst of all.
    assert ranking.regret(physical=[10, 3, 5], imagined=[9, 1, 9]) == 5
    assert ranking.regret(physical=[10, 3, 5], imagined=[1, 1, 1]) == 7


def test_figures_are_taken_along_the_last_axis():
    generator = rng()
    real, dream = generator.normal(size=(2, 5, 6))
    rows = ranking.panel_figures(real, dream, 2.0)
    for number in range(5):
        single = ranking.panel_figures(real[number], dream[number], 2.0)
        for name, value in single.items():
            assert rows[name][number] == pytest.approx(value), name


def test_bias_and_error_of_a_panel_by_hand():
    physical = np.array([[0.0, 0.0], [4.0, 4.0]])
    found = ranking.rank_panel(physical, physical + np.array([[1.0], [-2.0]]), rng())
    assert found["bias"].value == -0.5 and found["absolute_error"].value == 1.5
    assert (found["bias"].low, found["bias"].high) == (-2, 1)  # a resample may hold one policy twice
    assert found["regret"].value == 0 and found["mmrv"].value == 0


def test_a_world_that_is_the_physics_ranks_perfectly_in_every_resample():
    physical = rng().normal(size=(8, 10)) + np.arange(8)[:, None]
    found = ranking.rank_panel(physical, physical, rng(), resamples=200)
    for name, perfect in (("pearson", 1), ("spearman", 1), ("kendall", 1), ("mmrv", 0), ("regret", 0), ("bias", 0)):
        assert [found[name].low, found[name].value, found[name].high] == pytest.approx([perfect] * 3), name


def test_intervals_come_from_policies_and_from_episodes():
    # Without noise between episodes only the policies are drawn: of gaps 0 and 3 both, or one of them twice.
    policies = np.array([[0.0, 0.0], [4.0, 4.0]])
    found = ranking.rank_panel(policies, policies + np.array([[0.0], [3.0]]), rng())["bias"]
    assert (found.low, found.value, found.high) == (0.0, 1.5, 3.0)
    # Of policies that are all alike only the episodes are: gaps 0 and 3 in each, two policies of two episodes.
    alike = ranking.rank_panel(policies, policies + np.array([[0.0, 3.0]]), rng())["bias"]
    assert (alike.low, alike.value, alike.high) == (0.0, 1.5, 3.0)
    again = ranking.rank_panel(*np.random.default_rng(0).normal(size=(2, 10, 5)), rng(), resamples=500)
    assert again == ranking.rank_panel(*np.random.default_rng(0).normal(size=(2, 10, 5)), rng(), resamples=500)


def test_self_repeat_floor():
    apart = np.arange(5.0)[:, None] * 100 + rng().normal(size=(5, 8))
    floor = ranking.self_repeat(apart, rng())
    assert floor["spearman"].value == pytest.approx(1) and floor["mmrv"].value == 0
    assert ranking.self_repeat(rng().normal(size=(5, 8)), rng())["mmrv"].value > 0.1


def test_self_repeat_floor_by_hand():
    # Halves of one episode each: the first policy earns 0 or 4, the second 1 twice. The order is always the other one,
    # and the mean maximum violation is the difference in the first half: 1 or 3, in units of the range of the means, 1.
    floor = ranking.self_repeat(np.array([[0.0, 4.0], [1.0, 1.0]]), rng())
    assert floor["spearman"].to_dict() == pytest.approx({"value": -1.0, "low": -1.0, "high": -1.0})
    assert (floor["mmrv"].low, floor["mmrv"].high) == (1.0, 3.0)
    assert floor["mmrv"].value == pytest.approx(2.0, abs=0.25)  # both come as often


def test_permutation_p_by_hand():
    # One of the six orders of three is perfect.
    found = ranking.permutation_p(np.array([1.0, 2, 3]), np.array([1.0, 2, 3]), rng())
    assert found == pytest.approx(1 / 6, abs=0.02)
    assert ranking.permutation_p(np.arange(9.0), -np.arange(9.0), rng()) == 1
    assert np.isnan(ranking.permutation_p(np.arange(3.0), np.ones(3), rng()))


def test_range_of_the_returns():
    assert ranking.return_range(np.array([[0.0, 2.0], [6.0, 4.0]])) == 4
    assert np.isnan(ranking.return_range(np.ones((3, 2))))


def test_interquartile_mean_by_hand():
    assert interquartile_mean(np.array([100.0, 3, 4, 5, 6, 1, 2, -50])) == pytest.approx((2 + 3 + 4 + 5) / 4)
