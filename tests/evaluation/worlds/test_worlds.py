"""Worlds behind one face: MuJoCo agrees with itself to the last bit, and each disturbance does what it says."""

import gymnasium
import numpy as np
import pytest

from wm_gym.evaluation.actors import GroupActor, RandomActor
from wm_gym.evaluation.worlds import Followed, LearnedWorld, Moments, PhysicsWorld, moments_of
from wm_gym.evaluation.worlds.controls import PersistentWorld, control_worlds
from wm_gym.evaluation.worlds.physics import Disturbance
from wm_gym.physics.tasks import task_spec


@pytest.fixture(scope="module")
def reacher():
    return task_spec("reacher", cameras=())


@pytest.fixture(scope="module")
def physics(reacher):
    world = PhysicsWorld(reacher)
    yield world
    world.close()


@pytest.fixture(scope="module")
def played(physics, reacher):
    starts = physics.resets([5, 6])
    return starts, physics.play(RandomActor(reacher.action_space, 3), starts, 20, 0)


def test_it_plays_as_gymnasium_does(played, reacher):
    _, episodes = played
    env = gymnasium.make("Reacher-v5")
    for seed, episode in zip((5, 6), episodes, strict=True):
        observation, _ = env.reset(seed=seed)
        assert np.array_equal(np.float32(observation), episode.observations[0])
        for step, action in enumerate(episode.actions):
            observation, reward, *_ = env.step(action)
            assert np.array_equal(np.float32(observation), episode.observations[step + 1])
            assert np.float32(reward) == episode.rewards[step]
    assert episodes[0].truncated and not episodes[0].terminated and len(episodes[0]) == 20


def test_following_the_actions_of_an_episode_repeats_it(physics, played):
    starts, episodes = played
    followed = physics.follow(starts, np.stack([episode.actions for episode in episodes]))
    for row, episode in enumerate(episodes):
        assert np.array_equal(np.float32(followed.observations[row]), episode.observations[1:])
    middle = moments_of(episodes, 7)
    rest = physics.follow(middle, np.stack([episode.actions[7:] for episode in episodes]))
    assert rest.observations == pytest.approx(followed.observations[:, 7:], abs=1e-9)


def test_disturbances(reacher, physics, played):
    starts, episodes = played
    actions = np.stack([episode.actions for episode in episodes])
    truth = physics.follow(starts, actions).observations

    def disturbed(**how):
        world = PhysicsWorld(reacher, "other", Disturbance(**how))
        found = world.follow(starts, actions).observations
        assert np.array_equal(found, world.follow(starts, actions).observations), "chance is repeated"
        world.close()
        return found

    assert np.array_equal(disturbed(), truth)
    assert np.array_equal(disturbed(gain=0.8), physics.follow(starts, actions * np.float32(0.8)).observations)
    late = physics.follow(starts, np.concatenate([actions[:, :1], actions[:, :1], actions[:, :-2]], axis=1))
    assert np.array_equal(disturbed(delay=2), late.observations)
    constant = physics.follow(starts, np.full_like(actions, 0.5)).observations
    assert np.array_equal(disturbed(pool=np.full((1, 2), 0.5, np.float32)), constant)
    assert np.abs(disturbed(kick=np.array([0.1, 0.1, 0, 0])) - truth).max() > 0.01

    def heavier(model):
        model.body_mass[:] *= 2
        model.body_inertia[:] *= 2

    assert np.abs(disturbed(change=heavier) - truth).max() > 1e-3


def test_sensor_noise_reaches_the_actor_alone(reacher, played):
    class Mirror:
        def act(self, observation, episodes, step):
            return observation[:, :2]

    starts, _ = played
    noisy = PhysicsWorld(reacher, "noisy", Disturbance(sensor_noise=np.full(10, 0.1)))
    episode = noisy.play(Mirror(), starts, 3, seed=1)[0]
    noise = episode.actions - np.clip(episode.observations[:-1, :2], -1, 1)
    assert np.abs(noise).max() > 0.01 and np.array_equal(episode.observations[0], starts.observations[0])
    noisy.close()


def test_an_episode_that_ends_stays_where_it_is():
    hopper = PhysicsWorld(task_spec("hopper", cameras=()))
    starts = hopper.resets([0])
    followed = hopper.follow(starts, np.ones((1, 200, 3)))
    end = int(followed.continuation[0].argmin())
    assert 0 < end < 199 and followed.continuation[0, end:].max() == 0 and followed.rewards[0, end + 1 :].max() == 0
    assert np.array_equal(followed.observations[0, -1], followed.observations[0, end])
    episode = hopper.play(RandomActor(hopper.task.action_space, 0), starts, 500, 0)[0]
    assert episode.terminated and not episode.truncated
    hopper.close()


def test_expected_returns_count_a_step_as_far_as_it_is_reached():
    said = Followed(np.zeros((1, 3, 1)), np.array([[1.0, 2.0, 4.0]]), np.array([[0.5, 0.0, 1.0]]))
    assert said.returns().tolist() == [2.0]


def test_a_learned_world_follows_its_mean(point_mass):
    world = LearnedWorld(point_mass)
    starts = Moments(np.array([[0.1, 0.0], [0.2, 0.0]], np.float32), np.zeros((2, 1)), np.zeros((2, 1)))
    followed = world.follow(starts, np.ones((2, 2, 1)))
    # v = 0.1, 0.2 and x = x0 + 0.01, then + 0.02; the spread is |x| / 10, and the calibration doubles it.
    assert followed.observations[:, :, 0] == pytest.approx(np.array([[0.11, 0.13], [0.21, 0.23]]), abs=1e-6)
    assert followed.rewards[0] == pytest.approx([-(0.11**2), -(0.13**2)], abs=1e-6)
    assert followed.uncertainty[1] == pytest.approx([0.042, 0.046], abs=1e-6)
    episodes = world.play(RandomActor(point_mass.task.action_space, 0), starts, 7, seed=3)
    assert [len(episode) for episode in episodes] == [7, 7]


def test_a_group_of_actors_shares_the_rows():
    class Says:
        def __init__(self, word):
            self.word = word

        def act(self, observation, episodes, step):
            return np.stack([[self.word, episode, step] for episode in episodes]).astype(np.float32)

    group = GroupActor([Says(1), Says(2)], episodes=3)
    acts = group.act(np.zeros((4, 1)), np.array([0, 2, 3, 5]), 9)
    assert acts.tolist() == [[1, 0, 9], [1, 2, 9], [2, 0, 9], [2, 2, 9]]


def test_persistence_and_the_five(reacher, played):
    starts, episodes = played
    still = PersistentWorld(0.02)
    followed = still.follow(starts, np.ones((2, 4, 2)))
    assert (followed.observations == np.float64(starts.observations)[:, None]).all() and followed.returns().max() == 0
    (episode, _) = still.play(RandomActor(reacher.action_space, 0), starts, 4, 0)
    assert len(episode) == 4 and episode.rewards.sum() == 0
    controls = control_worlds(reacher, episodes)
    assert [control.fails for control in controls] == [None, "skill", "spearman", "sign_agreement", "sensitivity"]
