"""Termination against cases worked by hand."""

from dataclasses import replace

import numpy as np
import pytest

from wm_gym.evaluation.held_out import stack_episodes
from wm_gym.evaluation.prediction import Predicted
from wm_gym.evaluation.resampling import Resampling
from wm_gym.evaluation.termination import discrimination, endings, judge_termination


def rng():
    return np.random.default_rng(0)


@pytest.fixture
def held_out(world):
    """Predicted steps: 2 and ended, 4 and ended, 4 and cut by the limit, 6 (beyond the horizon of 4) and ended."""
    lengths, ends = (3, 5, 5, 7), (True, True, False, True)
    episodes = [
        replace(world.make_episode(np.zeros((length + 1, 2))), terminated=end)
        for length, end in zip(lengths, ends, strict=True)
    ]
    return stack_episodes(episodes, horizon=4)


def test_endings(held_out):
    durations, ended = endings(held_out)
    assert durations.tolist() == [2, 4, 4, 4]
    assert ended.tolist() == [True, True, False, False]


def test_a_prophet_has_the_recorded_survival_and_no_error(held_out):
    continuation = np.ones((4, 4))
    continuation[0, 1] = continuation[1, 3] = 0.0
    found = judge_termination([Predicted(held_out.truth, None, continuation)], held_out, Resampling(range(4), rng()))
    assert found["events"] == 2
    assert found["recorded"]["value"] == pytest.approx([1, 1, 0.75, 0.75, 0.5])
    assert found["predicted"]["value"] == pytest.approx(found["recorded"]["value"])
    assert found["brier"]["value"] == 0.0 and found["auroc"]["value"] == 1.0
    assert found["brier_reference"] == pytest.approx(2 / 14 * 12 / 14)


def test_a_constant_hazard_is_calibrated_but_tells_nothing_apart(held_out):
    seeds = [Predicted(held_out.truth, None, np.full((4, 4), 6 / 7))] * 2
    found = judge_termination(seeds, held_out, Resampling(range(4), rng()))
    assert found["predicted"]["value"] == pytest.approx((6 / 7) ** np.arange(5))
    assert found["brier"]["value"] == pytest.approx(found["brier_reference"])
    assert found["auroc"]["value"] == 0.5


def test_discrimination_by_hand():
    """The marked 0.6 beats 0.1, 0.2 and ties 0.6; the marked 0.3 beats 0.1, 0.2: 4.5 of 8."""
    scores = np.array([[0.1, 0.6, np.nan], [0.2, 0.6, 0.9], [0.3, np.nan, np.nan]])
    positive = np.array([[False, True, True], [False, False, False], [True, False, False]])
    assert discrimination(scores, positive, np.ones((1, 3))) == pytest.approx([4.5 / 8])
    without_the_last = discrimination(scores, positive, np.array([[1.0, 1.0, 0.0]]))
    assert without_the_last == pytest.approx([2.5 / 4])


def test_without_an_ending_there_is_nothing_to_tell_apart(world, episodes):
    held_out = stack_episodes(episodes, horizon=5)
    found = judge_termination(
        [Predicted(held_out.truth, None, np.ones((20, 5)))], held_out, Resampling(range(20), rng())
    )
    assert found["events"] == 0 and found["auroc"] is None
    assert found["recorded"]["value"] == [1.0] * 6 and found["brier"]["value"] == 0.0
