"""Coverage, discrimination and reliability of doubts that are made up, and of a fake whose errors are known."""

import re

import numpy as np
import pytest

from wm_gym.evaluation.calibration import (
    WATCHED,
    Doubts,
    imagine_doubts,
    judge_coverage,
    judge_discrimination,
    reliability,
)
from wm_gym.evaluation.calibration_chart import write_chart
from wm_gym.types import Episode


def doubts(error, expected, bound=None, episodes=None, surprise=None):
    error, expected = np.asarray(error, float), np.asarray(expected, float)
    return Doubts(
        error,
        expected,
        2 * expected if bound is None else np.asarray(bound, float),
        np.ones(len(error)) if surprise is None else np.asarray(surprise, float),
        np.arange(len(error)) if episodes is None else np.asarray(episodes),
    )


def generator():
    return np.random.default_rng(0)


def test_an_episode_weighs_the_same_however_many_of_its_rollouts_run():
    # Episode 0 is covered in one of its three rollouts, episode 1 in its only one: (1/3 + 1) / 2.
    found = judge_coverage(doubts([[1], [3], [3], [1]], [[1]] * 4, episodes=[0, 0, 0, 1]), 1, generator())
    assert found["pooled"]["value"] == pytest.approx(2 / 3) and found["episodes"] == [2]


def test_what_was_not_recorded_is_neither_covered_nor_missed():
    gone = np.nan
    found = judge_coverage(doubts([[1, gone], [1, 3], [3, 1]], np.ones((3, 2))), 2, generator())
    assert found["curve"]["value"] == pytest.approx([2 / 3, 1 / 2])
    assert found["pooled"]["value"] == pytest.approx(3 / 5) and found["episodes"] == [3, 2]
    assert found["at"] == {}  # fewer than ten episodes


def test_nothing_is_judged_beyond_the_calibrated_steps():
    assert len(judge_coverage(doubts(np.ones((12, 5)), np.ones((12, 5))), 3, generator())["curve"]["value"]) == 3


def test_auroc_is_the_share_of_pairs_in_the_right_order():
    # Wrong ones are doubted 2, 2, ..., right ones 1 and 3 in turn: half of the pairs are in order.
    error = np.full((40, 10), 0.1)
    error[:20, 9] = 0.5
    expected = np.ones((40, 10))
    expected[:20, 9], expected[20:, 9] = 2.0, np.tile([1.0, 3.0], 10)
    surprise = np.where(np.arange(40) < 20, 4.0, 1.0)  # surprised by every robot that goes wrong: 8 against 1 and 3
    row = judge_discrimination(doubts(error, expected, surprise=surprise), generator())["10"]
    assert row["wrong"] == 20 and row["rollouts"] == 40
    assert row["expected"]["value"] == pytest.approx(0.5) and row["surprised"]["value"] == 1
    assert row["expected"]["low"] < 0.5 < row["expected"]["high"]


def test_too_few_wrong_predictions_give_no_area():
    error = np.full((40, 10), 0.1)
    error[:9, 9] = 0.5
    row = judge_discrimination(doubts(error, error), generator())["10"]
    assert row == {"rollouts": 40, "wrong": 9, "expected": None, "surprised": None}


def test_episodes_of_two_worlds_are_told_apart():
    both = doubts([[1], [1]], [[1], [1]], episodes=[0, 1]).beside(doubts([[2]], [[2]], episodes=[0]))
    assert both.episodes.tolist() == [0, 1, 2] and both.error[:, 0].tolist() == [1, 1, 2]


def test_reliability_holds_actual_against_expected_error():
    values = np.linspace(0.1, 1.0, 100)[:, None]
    bins = reliability(doubts(2 * values, values))
    assert len(bins) == 10 and all(row["actual"] == pytest.approx(2 * row["expected"]) for row in bins)


def pushed(steps, drift=0.0):
    """The fake's own motion under constant actions; with a drift the robot is another one."""
    states = [(0.0, 0.0)]
    for _ in range(steps):
        x, v = states[-1]
        v = v + 0.02 + drift
        states.append((x + v / 10, v))
    return Episode(
        observations=np.array(states, np.float32),
        actions=np.full((steps, 1), 0.2, np.float32),
        rewards=np.zeros(steps, np.float32),
        terminated=False,
        truncated=True,
        control_dt=0.1,
    )


def test_a_robot_that_is_the_one_imagined_does_not_surprise_and_another_does(point_mass):
    same = imagine_doubts(point_mass, [pushed(WATCHED + 5)], 100, 8, deterministic=True, seed=0)
    assert same.error.shape == (1, 8) and np.isnan(same.error[0, 5:]).all()
    assert np.nanmax(same.error) < 1e-5 and same.surprise.tolist() == [1.0]
    # Twice the spread is expected (x / 10) and four times bounds the error: x after six more steps of v += 0.02.
    x = pushed(WATCHED + 1).observations[-1, 0]
    assert same.expected[0, 0] == pytest.approx(0.2 * x, rel=1e-4)
    assert same.bound[0, 0] == pytest.approx(0.4 * x, rel=1e-4)
    other = imagine_doubts(point_mass, [pushed(WATCHED + 5, drift=0.05)], 100, 8, deterministic=True, seed=0)
    assert other.surprise[0] > 2 and other.surprised[0, 0] == pytest.approx(other.expected[0, 0] * other.surprise[0])


def test_what_nobody_watched_begins_at_the_first_observation_and_surprises_nobody(point_mass):
    found = imagine_doubts(point_mass, [pushed(5, drift=0.05)], 3, 8, deterministic=True, seed=0, watched=0)
    assert found.error.shape == (2, 8) and found.surprise.tolist() == [1.0, 1.0]
    assert sorted(np.isfinite(found.error).sum(1).tolist()) == [2, 5]  # from steps 3 and 0 to the end


def test_the_chart_is_one_whole_picture(tmp_path):
    found = doubts(np.linspace(0.1, 1, 40)[:, None] * np.ones(5), np.ones((40, 5)))
    values = {"level": 0.9, "coverage": judge_coverage(found, 5, generator()), "reliability": reliability(found)}
    write_chart(tmp_path / "chart.svg", values, "robot")
    text = (tmp_path / "chart.svg").read_text()
    assert text.startswith("<svg") and text.endswith("</svg>") and "robot: share of errors below the 90% bound" in text
    first, second = (
        re.search(rf'<text x="([\d.]+)"[^>]*>[^<]*{title}', text) for title in ("share of errors", "actual error")
    )
    assert float(first[1]) < 46 and 390 < float(second[1]) < 470  # each above its own axis
