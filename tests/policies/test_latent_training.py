"""What agents of camera models meet while they learn."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

from wm_gym.policies.latent_training import NoisyLatents, surprise
from wm_gym.testing.inputs import make_camera_model


class Still(gym.Env):
    """Shows zeros, and ends after three steps."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(2, np.float32), 0.0, self.steps == 3, False, {}


def shown(seed):
    envs = NoisyLatents(DummyVecEnv([Still] * 500), np.array([0.5, 0.0]), seed)
    first, last = envs.reset(), None
    for _ in range(3):
        observation, _, done, infos = envs.step(np.zeros((500, 1), np.float32))
    assert done.all()
    last = np.stack([info["terminal_observation"] for info in infos])
    return np.stack([first, observation, last])


def test_every_observation_is_blurred_by_as_much_as_it_was_told_and_the_last_ones_too():
    seen = shown(seed=0)
    assert seen.dtype == np.float32 and seen.shape == (3, 500, 2)
    assert seen[..., 0].std(1) == pytest.approx([0.5] * 3, rel=0.1) and not seen[..., 1].any()
    assert np.array_equal(seen, shown(seed=0)) and not np.array_equal(seen, shown(seed=1))


def test_what_was_imagined_exactly_surprises_nobody():
    """The recorded contexts are replaced by what the model itself imagines, and then moved by 3 in one number."""
    trained = make_camera_model()
    model, actions = trained.model, torch.zeros(64, 1, 2)
    begun = trained.starts.any[:1, 0].repeat(64, 1)
    latent = model.imagine(model.observe(None, None, begun), actions[:, 0])
    told = latent["appearance"].mean(1)
    exact = torch.stack([begun, told], 1)
    assert surprise(replace(trained, starts=replace(trained.starts, any=exact, any_actions=actions))) == pytest.approx(
        np.zeros(model.vector(latent).shape[1]), abs=1e-4
    )
    moved = exact.clone()
    moved[::2, 1, 0] += 3.0
    found = surprise(replace(trained, starts=replace(trained.starts, any=moved, any_actions=actions)))
    # Half of them by 3 and half by nothing: a standard deviation of 1.5, times 64 / 63 for a sample.
    assert found[0] == pytest.approx(1.5 * (64 / 63) ** 0.5 / model.normalizer.std[0].item(), rel=1e-3)
    assert found[1] == pytest.approx(0.0, abs=1e-4)
