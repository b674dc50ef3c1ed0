"""Sums of rewards against cases worked by hand."""

from dataclasses import replace

import numpy as np
import pytest

from wm_gym.evaluation.held_out import stack_episodes
from wm_gym.evaluation.prediction import Predicted
from wm_gym.evaluation.resampling import Resampling
from wm_gym.evaluation.reward_sums import judge_reward_sums, weighted_correlation


def judge(predicted, held_out, steps):
    resampling = Resampling(range(len(held_out.episodes)), np.random.default_rng(0))
    return judge_reward_sums([Predicted(held_out.truth, rewards) for rewards in predicted], held_out, resampling, steps)


def test_a_constant_promise_is_a_bias_and_keeps_the_order(episodes):
    held_out = stack_episodes(episodes, horizon=11)
    found = judge([held_out.future_rewards + 0.1], held_out, 10)
    spread = held_out.future_rewards[:, :10].sum(axis=1).std()
    assert found["windows"] == 20
    assert found["bias"] == pytest.approx({"value": 1.0, "low": 1.0, "high": 1.0})
    assert found["absolute"]["value"] == pytest.approx(1.0)
    assert found["relative_bias"] == pytest.approx(1.0 / spread)
    assert found["correlation"] == pytest.approx({"value": 1.0, "low": 1.0, "high": 1.0})


def test_errors_of_two_seeds_do_not_cancel_in_the_absolute_one(episodes):
    held_out = stack_episodes(episodes, horizon=11)
    found = judge([held_out.future_rewards + 0.1, held_out.future_rewards - 0.1], held_out, 10)
    assert found["bias"]["value"] == pytest.approx(0.0) and found["absolute"]["value"] == pytest.approx(1.0)


def test_a_reward_that_never_differs_has_no_correlation(world):
    episodes = [world.make_episode(np.zeros((7, 2)), rewards=np.ones(6)) for _ in range(3)]
    found = judge([np.ones((3, 5))], stack_episodes(episodes, horizon=5), 5)
    assert found["correlation"] is None and found["relative_bias"] is None
    assert found["recorded_mean"] == 5.0 and found["bias"]["value"] == 0.0


def test_only_windows_that_run_so_long_are_summed(world, episodes):
    short = [
        replace(e, observations=e.observations[:6], actions=e.actions[:5], rewards=e.rewards[:5]) for e in episodes
    ]
    held_out = stack_episodes([*short[:18], *episodes[18:]], horizon=11)
    assert judge([held_out.future_rewards], held_out, 10)["windows"] == 2
    assert judge([held_out.future_rewards], held_out, 50) is None


def test_weighted_correlation_is_that_of_repeated_rows():
    first, second = np.array([1.0, 2.0, 4.0]), np.array([2.0, 1.0, 5.0])
    found = weighted_correlation(first, second, np.array([[1.0, 2.0, 1.0]]))
    assert found == pytest.approx([np.corrcoef([1, 2, 2, 4], [2, 1, 1, 5])[0, 1]])
