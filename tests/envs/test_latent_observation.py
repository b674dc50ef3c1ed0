import copy

import gymnasium as gym
import numpy as np
import pytest
import torch

from wm_gym.data.video import read_video, write_video
from wm_gym.envs import LatentObservation, WorldModelEnv
from wm_gym.errors import ConfigError, ObservationError


class Filmed(gym.Env):
    """The dot, really moving; in its third frame the camera is missing where that is asked."""

    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    observation_space = gym.spaces.Box(0, 255, (16, 16, 3), np.uint8)

    def __init__(self, moving_dot, blink=False, shape=lambda frame: frame):
        self.dot, self.blink, self.shape = moving_dot, blink, shape

    def _look(self):
        frame = self.shape(self.dot.frames(np.array([self.x]))[0])
        return ({} if self.steps == 3 else {"eye": frame}) if self.blink else frame

    def reset(self, *, seed=None, options=None):
        self.x, self.v, self.steps = 0.0, 0.0, 0
        return self._look(), {}

    def step(self, action):
        self.v = 0.9 * self.v + 0.1 * float(action[0])
        self.x, self.steps = self.x + self.v, self.steps + 1
        return self._look(), -(self.x**2), False, False, {}


def test_it_filters_frames_into_what_the_imagination_shows(seen_dot, moving_dot):
    env = LatentObservation(Filmed(moving_dot), seen_dot)
    imagined = WorldModelEnv(seen_dot, obs_type="latent", deterministic=True)
    assert env.observation_space == imagined.observation_space
    first, _ = env.reset(seed=0)
    assert first in env.observation_space
    actions = np.array([[0.5], [-0.2], [0.9]], np.float32)
    seen, film = [first], [moving_dot.frames(np.array([0.0]))[0]]
    for action in actions:
        observation, reward, *_ = env.step(action)
        seen.append(observation)
        film.append(moving_dot.frames(np.array([env.unwrapped.x]))[0])
    assert reward == -(env.unwrapped.x**2)
    after, _ = imagined.reset(seed=0, options={"observations": np.stack(film), "actions": actions})
    assert np.allclose(seen[-1], after, atol=1e-4)
    assert not np.array_equal(seen[0], seen[1])


def test_a_live_camera_is_looked_at_as_its_recording_would_be(seen_dot, moving_dot, tmp_path):
    acts = np.array([[0.5], [-0.2], [0.9]], np.float32)
    real = Filmed(moving_dot)
    film = np.stack([real.reset()[0], *(real.step(action)[0] for action in acts)])
    write_video(tmp_path / "film.mp4", film, fps=10)
    held = iter(read_video(tmp_path / "film.mp4"))
    recorded = LatentObservation(Filmed(moving_dot, shape=lambda frame: next(held)), seen_dot, live=False)
    live = LatentObservation(Filmed(moving_dot), seen_dot)
    for _ in range(2):  # a new episode begins a new video
        one, _ = live.reset()
        many = [one, *(live.step(action)[0] for action in acts)]
    wanted = [recorded.reset()[0], *(recorded.step(action)[0] for action in acts)]
    assert np.array_equal(many, wanted)
    copied = copy.deepcopy(live)
    assert np.allclose(copied.step(acts[0])[0], live.step(acts[0])[0], atol=0.05)  # its video begins anew
    plain = LatentObservation(Filmed(moving_dot), seen_dot, live=False)
    assert not np.array_equal(plain.reset()[0], one)


def test_where_a_camera_is_missing_the_model_imagines(seen_dot, moving_dot):
    env = LatentObservation(Filmed(moving_dot, blink=True), seen_dot)
    env.reset(seed=0)
    action = np.array([0.5], np.float32)
    for _ in range(2):
        env.step(action)
    prior = seen_dot.model.vector(seen_dot.model.imagine(env.latent, torch.from_numpy(action[None])))[0]
    blind, *_ = env.step(action)
    assert np.allclose(blind[:2], prior[:2], atol=1e-5)
    seeing, *_ = env.step(action)
    assert np.isfinite(seeing).all() and not np.allclose(seeing[:2], blind[:2])
    env.unwrapped.shape = lambda frame: frame
    env.env._look = lambda: {"other": None}
    with pytest.raises(ObservationError, match=r"shows \['other'\], the model looks through eye"):
        env.step(action)


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        (lambda frame: frame.transpose(2, 0, 1), r"shape \(3, 16, 16\) uint8, \(16, 16, 3\) uint8 is needed"),
        (lambda frame: frame / 255, r"shape \(16, 16, 3\) float64, \(16, 16, 3\) uint8 is needed"),
        (lambda frame: frame[::2, ::2], r"shape \(8, 8, 3\) uint8, \(16, 16, 3\) uint8 is needed"),
    ],
)
def test_a_frame_of_the_wrong_kind_shows_both_shapes(seen_dot, moving_dot, shape, told):
    env = LatentObservation(Filmed(moving_dot, shape=shape), seen_dot)
    with pytest.raises(ObservationError, match=f"camera 'eye' has {told}"):
        env.reset(seed=0)


def test_what_cannot_be_wrapped_is_refused(seen_dot, point_mass, moving_dot):
    with pytest.raises(ConfigError, match="family 'point_mass' looks through no camera"):
        LatentObservation(Filmed(moving_dot), point_mass)
    env = Filmed(moving_dot)
    env.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    with pytest.raises(ConfigError, match=r"actions have shape \(2,\), the model's \(1,\)"):
        LatentObservation(env, seen_dot)
    with pytest.raises(ConfigError, match="reset"):
        LatentObservation(Filmed(moving_dot), seen_dot).step(np.zeros(1))
