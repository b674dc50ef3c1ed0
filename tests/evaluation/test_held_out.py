"""A held-out recording shares no episode with the one that was learnt from."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from wm_gym.errors import DataError
from wm_gym.evaluation.held_out import check_held_out, stack_windows
from wm_gym.types import BoxSpec


class Recording(SimpleNamespace):
    """As much of a dataset as the check looks at."""

    def __len__(self):
        return len(self.held)

    def episodes(self):
        return iter(self.held)


@pytest.fixture
def recording(task):
    return lambda name, held, **changed: Recording(folder=name, task=replace(task, **changed), held=held)


def test_other_episodes_of_the_same_robot_are_a_fair_test(recording, episodes):
    check_held_out(recording("new", episodes[:10]), recording("old", episodes[10:]))


def test_an_episode_that_begins_alike_is_a_leak_however_long_it_is(recording, world, episodes):
    shorter = world.make_episode(episodes[3].observations[:5])
    with pytest.raises(DataError, match="1 of its 3 episodes begin as one in old"):
        check_held_out(recording("new", [*episodes[:2], shorter]), recording("old", episodes[2:]))


def test_a_robot_that_always_starts_alike_is_told_apart_by_what_it_does(recording, world):
    walks = [world.make_episode(np.array([[0.0, 0.0], [step, 0.0]])) for step in (0.1, 0.2)]
    check_held_out(recording("new", walks[:1]), recording("old", walks[1:]))


@pytest.mark.parametrize("changed", [{"env_id": "Other-v0"}, {"action_space": BoxSpec((-1.0,), (1.0,))}])
def test_another_robot_is_refused(recording, episodes, changed):
    with pytest.raises(DataError, match="same robot"):
        check_held_out(recording("new", episodes[:10]), recording("old", episodes[10:], **changed))


def test_windows_start_at_the_strides_and_run_to_the_end(episodes):
    held_out, origins = stack_windows(episodes, stride=5, horizon=10)
    assert held_out.running.sum(axis=1).tolist() == [10, 6, 1] * 20
    assert origins.tolist() == np.repeat(np.arange(20), 3).tolist()
    assert held_out.observations[1, 0] == pytest.approx(episodes[0].observations[5])
    assert held_out.episodes[1].qpos[0] == pytest.approx(episodes[0].qpos[5])
    assert held_out.episodes[2].terminated == episodes[0].terminated


def test_one_long_window_is_enough_to_reach_its_horizon(world, episodes):
    short = [world.make_episode(episode.observations[:4]) for episode in episodes]
    assert stack_windows([*short, episodes[0]], stride=100, horizon=500)[0].horizon == 11
