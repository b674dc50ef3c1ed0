"""The same actor in both worlds: returns worked by hand, rows kept apart, actions paired."""

import numpy as np
import pytest

from wm_gym.evaluation import rollouts
from wm_gym.evaluation.actors import PolicyActor, RandomActor
from wm_gym.types import BoxSpec


class Still:
    """A policy that does nothing."""

    def predict(self, observation, *, deterministic=False):
        assert deterministic
        return np.zeros((len(observation), 2)), None


class Eager:
    """A policy that asks for more than the motors give."""

    def predict(self, observation, *, deterministic=False):
        return np.full((len(observation), 2), 7.0), None


def test_returns_equal_worked_values(world, task):
    actor = PolicyActor(Still(), task.action_space)
    physical = rollouts.physical_episodes(world.Env(), actor, range(100, 104), task.control_dt)
    starts = rollouts.first_observations(physical)
    # Nothing moves: every one of the five steps costs |x| + |y|.
    assert rollouts.episode_returns(physical) == pytest.approx(-5 * np.abs(starts).sum(-1))
    imagined = rollouts.imagined_episodes(world.Imagination(4, promise=0.5), actor, starts, 0, task.control_dt)
    assert rollouts.episode_returns(imagined) == pytest.approx(-5 * np.abs(starts).sum(-1) + 2.5)
    assert all(episode.truncated and not episode.terminated for episode in physical + imagined)


def test_actions_are_clipped_alike(world, task):
    actor = PolicyActor(Eager(), task.action_space)
    (episode,) = rollouts.physical_episodes(world.Env(), actor, [0], task.control_dt)
    assert (episode.actions == 1.0).all()


def test_final_observation_is_the_last_one_not_the_next_start(world, task):
    starts = np.zeros((3, 2), dtype=np.float32)
    actor = PolicyActor(Eager(), task.action_space)
    episodes = rollouts.imagined_episodes(world.Imagination(3, limits=(2, 4, 3)), actor, starts, 0, task.control_dt)
    assert [len(episode) for episode in episodes] == [2, 4, 3]
    for episode in episodes:
        assert episode.observations[:, 0] == pytest.approx(np.arange(len(episode) + 1.0))


def test_random_actions_are_the_same_in_both_worlds(world, task):
    for memory in (0.0, 0.9):
        physical = rollouts.physical_episodes(
            world.Env(), RandomActor(task.action_space, 3, memory), range(4), task.control_dt
        )
        imagined = rollouts.imagined_episodes(
            world.Imagination(4),
            RandomActor(task.action_space, 3, memory),
            rollouts.first_observations(physical),
            0,
            task.control_dt,
        )
        for one, other in zip(physical, imagined, strict=True):
            assert (one.actions == other.actions).all()
            assert one.observations == pytest.approx(other.observations, abs=1e-5)
        assert not (physical[0].actions == physical[1].actions).all()


def test_random_actions_stay_in_bounds_and_smooth_ones_are_smooth():
    space = BoxSpec((-2.0,), (4.0,))
    rough, smooth = (
        np.array([RandomActor(space, 0, memory).act(np.zeros((1, 1)), np.array([0]), t)[0, 0] for t in range(400)])
        for memory in (0.0, 0.9)
    )
    for actions in (rough, smooth):
        assert actions.min() >= -2.0 and actions.max() <= 4.0
        assert actions.mean() == pytest.approx(1.0, abs=0.6)
    assert np.abs(np.diff(smooth)).mean() < 0.5 * np.abs(np.diff(rough)).mean()


def test_an_action_does_not_depend_on_how_far_was_asked_before():
    space = BoxSpec((-1.0,), (1.0,))
    late, early = RandomActor(space, 5, 0.5), RandomActor(space, 5, 0.5)
    first = late.act(np.zeros((1, 1)), np.array([2]), 300)
    for step in (0, 100, 200, 300):
        again = early.act(np.zeros((1, 1)), np.array([2]), step)
    assert first == pytest.approx(again)


def test_states_are_kept_where_they_are_asked_for(world, task):
    actor = RandomActor(task.action_space, 0)
    (episode,) = rollouts.physical_episodes(
        world.Env(), actor, [5], task.control_dt, "random", read_state=lambda env: (env.x.copy(), np.zeros(2))
    )
    assert episode.qpos == pytest.approx(episode.observations)
    assert (episode.behaviour, episode.seed) == ("random", 5)
