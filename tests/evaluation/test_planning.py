"""Acting on plans: a perfect planner reaches, and both worlds are asked alike."""

from dataclasses import replace

import numpy as np
import pytest

from wm_gym.evaluation.planning import plan_episodes, succeeded
from wm_gym.evaluation.worlds import PhysicsWorld
from wm_gym.physics.tasks import task_spec
from wm_gym.policies.planner import PlannerConfig


@pytest.fixture(scope="module")
def physics():
    world = PhysicsWorld(task_spec("reacher", cameras=()))
    yield world
    world.close()


def plan(world, physics, steps=12):
    config = PlannerConfig(horizon=6, samples=16, iterations=2)
    return plan_episodes(world, physics, physics.resets([1, 2]), steps, config, np.random.default_rng(0))


def test_plans_made_in_mujoco_are_better_than_none(physics):
    planned = plan(physics, physics)
    chance = np.random.default_rng(1).uniform(-1, 1, size=(2, 12, 2))
    random = physics.follow(physics.resets([1, 2]), chance).rewards.sum(1)
    assert [len(episode) for episode in planned] == [12, 12]
    assert all(float(episode.rewards.sum()) > alone for episode, alone in zip(planned, random, strict=True))
    again = plan(physics, physics)
    assert np.array_equal(again[0].actions, planned[0].actions)


def test_an_episode_that_ends_is_planned_no_further():
    hopper = PhysicsWorld(task_spec("hopper", cameras=()))

    class Falls:
        name = "falls"

        def follow(self, starts, actions):
            followed = hopper.follow(starts, actions[:, :1])
            return replace(followed, rewards=actions[:, :1].sum(-1))  # wants every motor at its upper bound

    config = PlannerConfig(horizon=1, samples=4, iterations=1, elites=1)
    episode = plan_episodes(Falls(), hopper, hopper.resets([0]), 200, config, np.random.default_rng(0))[0]
    assert episode.terminated and len(episode) < 200 and len(episode.observations) == len(episode) + 1
    hopper.close()


def test_success_on_reacher_is_a_fingertip_within_five_centimetres(physics, world):
    def ends(x, y):
        return world.make_episode(np.array([[0.0] * 10, [0.0] * 8 + [x, y]]))

    assert succeeded(physics.task, ends(0.03, 0.03)) is True and succeeded(physics.task, ends(0.04, 0.04)) is False
    assert succeeded(task_spec("hopper", cameras=()), ends(0.0, 0.0)) is None
