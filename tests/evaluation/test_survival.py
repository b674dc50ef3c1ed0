"""Survival curves against a published example and cases worked by hand."""

import numpy as np
import pytest

from wm_gym.evaluation import survival


def once(count):
    return np.ones((1, count))


def test_kaplan_meier_of_the_leukaemia_trial():
    """Weeks of remission under 6-mercaptopurine, Freireich et al. 1963; the curve is the textbooks' own."""
    relapsed, watched = [6, 6, 6, 7, 10, 13, 16, 22, 23], [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    durations, ended = np.array(relapsed + watched), np.arange(21) < len(relapsed)
    curve = survival.kaplan_meier(durations, ended, 35, once(21))
    expected = {0: 1.0, 5: 1.0, 6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448, 35: 0.448}
    assert {step: round(float(curve[0, step]), 3) for step in expected} == expected
    assert survival.median_time(curve).tolist() == [23]


def test_restricted_mean_and_median_by_hand():
    durations, ended = np.array([1, 2, 2, 3, 4]), np.array([True, True, False, True, False])
    curve = survival.kaplan_meier(durations, ended, 4, once(5))
    assert curve[0] == pytest.approx([1.0, 0.8, 0.6, 0.3, 0.3])
    assert survival.restricted_mean(curve) == pytest.approx([2.7])
    assert survival.median_time(curve).tolist() == [3]


def test_nothing_that_ends_has_no_median_within_the_horizon():
    curve = survival.kaplan_meier(np.array([4, 4]), np.array([False, False]), 4, once(2))
    assert survival.median_time(curve).tolist() == [5]
    assert survival.restricted_mean(curve) == pytest.approx([4.0])


def test_a_weight_of_two_is_a_row_that_is_there_twice():
    durations, ended = np.array([1, 2, 3]), np.array([True, False, True])
    weighted = survival.kaplan_meier(durations, ended, 3, np.array([[2.0, 0.0, 1.0]]))
    repeated = survival.kaplan_meier(np.array([1, 1, 3]), np.array([True, True, True]), 3, once(3))
    assert weighted == pytest.approx(repeated)


def test_expected_survival_meets_the_recorded_one_where_the_probabilities_are_right():
    """Half of those at risk end at each step, and one is cut after the first: the prediction says a half each time."""
    durations, ended = np.array([1, 1, 1, 2, 2, 3, 3]), np.array([True, True, False, True, False, True, False])
    at_risk = durations[:, None] >= np.arange(1, 4)
    hazard = np.array([2 / 7, 1 / 4, 1 / 2])
    expected = survival.expected_survival(np.tile(1 - hazard, (7, 1)), at_risk, once(7))
    assert expected == pytest.approx(survival.kaplan_meier(durations, ended, 3, once(7)))
    assert expected[0] == pytest.approx([1, 5 / 7, 5 / 7 * 3 / 4, 5 / 7 * 3 / 8])
