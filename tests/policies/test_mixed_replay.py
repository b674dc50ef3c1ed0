import numpy as np
import pytest
import torch
from gymnasium import spaces

from wm_gym.policies.mixed_replay import MixedReplay, recorded_episodes

STATE, ACTION = spaces.Box(-np.inf, np.inf, (2,), np.float32), spaces.Box(-2.0, 2.0, (1,), np.float32)


def replay(**settings):
    return MixedReplay(50, STATE, ACTION, imagined_size=10, **settings)


def act(buffer, before, after, reward=0.0, done=False, timeout=False):
    shaped = [np.full((1, 2), value, np.float32) for value in (before, after)]
    action = np.full((1, 1), 0.5, np.float32)
    buffer.add(*shaped, action, np.array([reward]), np.array([done]), [{"TimeLimit.truncated": timeout}])


def imagined(count, first=0):
    values = torch.arange(first, first + count).float()
    rows = values[:, None].repeat(1, 2)
    return {"observations": rows, "next_observations": rows, "actions": values, "dones": values, "rewards": values}


def test_a_batch_holds_both_kinds_in_their_shares():
    buffer = replay(real_share=0.25)
    for step in range(5):
        act(buffer, step, step + 1, reward=-7.0)
    assert (buffer.sample(16).rewards == -7.0).all()
    buffer.imagine(**imagined(4, first=100))
    batch = buffer.sample(16)
    assert int((batch.rewards == -7.0).sum()) == 4 and int((batch.rewards >= 100).sum()) == 12
    assert batch.observations.shape == (16, 2) and batch.actions.shape == (16, 1)


def test_the_oldest_imagined_rows_are_overwritten():
    buffer = replay()
    buffer.imagine(**imagined(8))
    buffer.imagine(**imagined(6, first=8))
    assert buffer.filled == 10 and buffer.place == 4
    assert sorted(buffer.imagined["rewards"].flatten().tolist()) == list(range(4, 14))


def test_what_the_robot_did_is_cut_at_ends_limits_and_interruptions():
    buffer = replay()
    act(buffer, 0, 1, reward=1.0)
    act(buffer, 1, 2, reward=2.0, done=True)
    act(buffer, 10, 11)
    act(buffer, 11, 12, done=True, timeout=True)
    act(buffer, 20, 21)
    act(buffer, 30, 31)
    episodes = recorded_episodes(buffer, lambda action: 2 * action, 0.1)
    assert [len(episode) for episode in episodes] == [2, 2, 1, 1]
    assert [episode.terminated for episode in episodes] == [True, False, False, False]
    assert episodes[0].observations[:, 0].tolist() == [0, 1, 2]
    assert episodes[0].rewards.tolist() == [1, 2] and episodes[0].actions[0, 0] == pytest.approx(1.0)
