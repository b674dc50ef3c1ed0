import gymnasium as gym
import numpy as np
import pytest
import torch

from wm_gym.errors import ConfigError
from wm_gym.models import TrainedModel
from wm_gym.models.camera_world import CameraWorld, CameraWorldConfig
from wm_gym.models.trained import StartStates
from wm_gym.models.trust import Calibration, Support
from wm_gym.policies.fused_sac import FusedSAC
from wm_gym.policies.latent_rounds import LatentRoundsConfig, filter_episodes, learn_in_rounds
from wm_gym.types import Episode

SHAPE = CameraWorldConfig(
    size=3, points=1, channels=(4,), memory=2, members=2, width=8, layers=1, judge_width=8, context=2
)
SMALL = LatentRoundsConfig(steps=20, rounds=2, first_updates=3, updates=2, imagined=8, tried=1)


def embeddings(steps, seed, terminated=False):
    generator = np.random.default_rng(seed)
    return Episode(
        observations=generator.normal(size=(steps + 1, 3)).astype(np.float32),
        actions=generator.uniform(-1, 1, (steps, 1)).astype(np.float32),
        rewards=np.arange(steps, dtype=np.float32),
        terminated=terminated,
        truncated=not terminated,
        control_dt=0.1,
    )


EPISODES = [embeddings(3, 0), embeddings(5, 1, terminated=True), embeddings(3, 2)]


class Robot(gym.Env):
    """Shows random latent vectors, and ends an episode after seven steps; tells what was done to it."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (5,), np.float32)
    action_space = gym.spaces.Box(-2.0, 2.0, (1,), np.float32)

    def __init__(self):
        self.actions, self.break_after = [], 10**9

    def _show(self):
        return self.np_random.normal(size=5).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 7
        return self._show(), {}

    def step(self, action):
        if len(self.actions) == self.break_after:
            raise KeyboardInterrupt
        self.actions.append(float(action[0]))
        self.left -= 1
        return self._show(), 1.0, False, self.left == 0, {}


@pytest.fixture
def trained(moving_dot):
    torch.manual_seed(0)
    world = CameraWorld(moving_dot.task, SHAPE)
    world.fit_scales(EPISODES)
    starts, none = torch.zeros(1, 1, 3), torch.zeros(1, 0, 1)
    return TrainedModel(
        model=world.eval().requires_grad_(False),
        starts=StartStates(starts, none, starts, none),
        support=Support(-torch.ones(4), torch.ones(4), torch.zeros(4), torch.eye(4), torch.tensor(10.0)),
        calibration=Calibration.proportional(1.0, 10),
        manifest={"files": {"model.safetensors": "1"}},
    )


def test_episodes_of_any_length_are_filtered_as_each_by_itself(trained):
    together = filter_episodes(trained.model, EPISODES)
    for episode, vectors in zip(EPISODES, together, strict=True):
        assert vectors.shape == (len(episode) + 1, 5)
        latent = trained.model.observe(None, None, torch.from_numpy(episode.observations[:1]))
        for step, action in enumerate(episode.actions):
            assert np.allclose(trained.model.vector(latent)[0].numpy(), vectors[step], atol=1e-6)
            following = torch.from_numpy(episode.observations[step + 1 : step + 2])
            latent = trained.model.observe(latent, torch.from_numpy(action[None]), following)


def test_it_learns_from_the_recording_and_from_what_it_did(trained, tmp_path):
    robot = Robot()
    result = learn_in_rounds(SMALL, trained, EPISODES, robot, tmp_path)
    replay = result.learner.replay_buffer
    assert [point["steps"] for point in result.curve] == [11, 21, 31]
    assert [point["physical"] for point in result.curve] == [[7.0]] * 3
    assert replay.pos == 31 and replay.rewards[:11, 0].tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 2]
    # Of the recording the second episode ended; running out of time is no end, there or on the robot.
    assert np.flatnonzero(replay.dones[:31, 0]).tolist() == [7]
    assert np.array_equal(replay.next_observations[0, 0], replay.observations[1, 0])
    assert np.allclose(2.0 * replay.actions[:3, 0], EPISODES[0].actions), (
        "SAC's actions lie in [-1, 1], the robot's in 2"
    )
    assert 8 <= replay.filled <= 16, "of branches of two steps; what earlier rounds imagined is forgotten"
    begun = replay.imagined["observations"][:8].numpy()
    apart = np.abs(begun[:, None] - replay.observations[None, :31, 0]).max(-1)
    assert (apart.min(1) < 1e-5).all(), "they begin where a filter was at recorded moments"
    assert result.policy.predict(np.zeros(5, np.float32))[0].shape == (1,)


def test_what_it_hands_out_is_the_policy_averaged(trained, tmp_path):
    config = LatentRoundsConfig(steps=1, rounds=1, first_updates=20, updates=10, imagined=8, tried=1)
    newest = []  # the policy after every ten gradient steps
    acting = []  # at every step of the robot

    class Watched(Robot):
        def step(self, action):
            acting.append(held[0].actor.mu.weight.detach().clone())
            return super().step(action)

    held = []
    train = FusedSAC.train

    def watching(self, count, batch):
        train(self, count, batch)
        newest.append(self.actor.mu.weight.detach().clone())
        held[:] = [self]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FusedSAC, "train", watching)
        result = learn_in_rounds(config, trained, EPISODES, Watched(), tmp_path)
    first, second, third = newest
    averaged = 0.99 * (0.99 * first + 0.01 * second) + 0.01 * third
    torch.testing.assert_close(result.learner.actor.mu.weight, averaged)
    torch.testing.assert_close(result.policy.tensors["weight.2"], averaged)
    assert not torch.equal(averaged, third)
    torch.testing.assert_close(acting[0], 0.99 * first + 0.01 * second)  # the first trial's seven steps
    assert torch.equal(acting[7], second), "on the robot the newest policy acts"
    torch.testing.assert_close(acting[8], averaged)


def test_nothing_is_imagined_where_all_is_to_be_real(trained, tmp_path):
    config = LatentRoundsConfig(steps=1, rounds=1, first_updates=1, updates=1, real_share=1.0, imagined=8, tried=1)
    assert learn_in_rounds(config, trained, EPISODES, Robot(), tmp_path).learner.replay_buffer.filled == 0


def test_an_interrupted_training_goes_on_to_the_same_agent(trained, tmp_path):
    whole = learn_in_rounds(SMALL, trained, EPISODES, Robot(), tmp_path / "whole")
    robot = Robot()
    robot.break_after = 7 + 10 + 7 + 3  # amid the second round's acting
    with pytest.raises(KeyboardInterrupt):
        learn_in_rounds(SMALL, trained, EPISODES, robot, tmp_path / "broken")
    further = Robot()
    resumed = learn_in_rounds(SMALL, trained, EPISODES, further, tmp_path / "broken")
    assert len(further.actions) == 10 + 7, "the first round is not played again"
    for name, weights in whole.policy.tensors.items():
        assert torch.equal(weights, resumed.policy.tensors[name]), name
    assert [point["physical"] for point in resumed.curve] == [point["physical"] for point in whole.curve]
    with pytest.raises(ConfigError, match="unfinished training with other settings"):
        other = LatentRoundsConfig(steps=20, rounds=2, first_updates=3, updates=2, imagined=8, tried=1, seed=1)
        learn_in_rounds(other, trained, EPISODES, Robot(), tmp_path / "broken")


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"steps": 0}, "steps=0"),
        ({"steps": 1, "rounds": 2}, "rounds=2"),
        ({"branch": 0}, "branch=0"),
        ({"gamma": 1.5}, "gamma=1.5"),
        ({"seed": -1}, "seed=-1"),
        ({"real_share": 0.0}, "real_share=0.0"),
    ],
)
def test_a_setting_that_does_not_exist_is_named(setting, named):
    with pytest.raises(ConfigError, match=named):
        LatentRoundsConfig(**setting).check()
