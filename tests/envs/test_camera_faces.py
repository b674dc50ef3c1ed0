"""What the three faces show of a camera model, and what they take from a user's own camera."""

import warnings
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from wm_gym.data.video import LiveVideo
from wm_gym.envs import WorldModelEnv, WorldModelVectorEnv
from wm_gym.envs.frames import side_by_side
from wm_gym.envs.sb3 import WorldModelVecEnv
from wm_gym.errors import ConfigError, ObservationError
from wm_gym.types import CameraSpec

SPACES = {
    "image": gym.spaces.Box(0, 255, (16, 16, 3), np.uint8),
    "latent": gym.spaces.Box(-np.inf, np.inf, (7,), np.float32),
}


@pytest.mark.parametrize("obs_type", ["image", "latent"])
def test_the_faces_show_frames_or_latent_vectors(seen_dot, obs_type):
    env, envs = WorldModelEnv(seen_dot, obs_type=obs_type), WorldModelVectorEnv(3, seen_dot, obs_type=obs_type)
    assert env.observation_space == envs.single_observation_space == SPACES[obs_type]
    one, _ = env.reset(seed=7)
    many, _ = envs.reset(seed=6)
    assert one in env.observation_space and many in envs.observation_space
    assert np.allclose(one.astype(float), many[1].astype(float), atol=2 if obs_type == "image" else 1e-4)
    for _ in range(3):
        one = env.step(np.array([0.5], np.float32))[0]
        many = envs.step(np.full((3, 1), 0.5, np.float32))[0]
    assert one in env.observation_space and many in envs.observation_space
    assert np.allclose(one.astype(float), many[1].astype(float), atol=3 if obs_type == "image" else 1e-3)


@pytest.mark.parametrize("obs_type", ["image", "latent"])
@pytest.mark.filterwarnings("ignore:.*A Box observation space m")
def test_gymnasium_finds_no_fault(seen_dot, obs_type):
    check_env(WorldModelEnv(seen_dot, obs_type=obs_type), skip_render_check=True)


@pytest.mark.parametrize(("obs_type", "policy"), [("image", "CnnPolicy"), ("latent", "MlpPolicy")])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*We recommend you to use a symmetric and normalized")
def test_sb3_and_torchrl_find_no_fault_and_ppo_trains(make_seen, moving_dot, obs_type, policy):
    wide = CameraSpec("eye", width=36, height=36)  # the smallest that SB3's CnnPolicy takes
    trained = make_seen(replace(moving_dot.task, cameras=(wide,)))
    sb3_check_env(WorldModelEnv(trained, obs_type=obs_type))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing torchrl warns about its own optional parts
        from torchrl.envs import GymEnv
        from torchrl.envs.utils import check_env_specs
    check_env_specs(GymEnv("wm_gym:WorldModel-v0", model=trained, obs_type=obs_type))
    envs = WorldModelVecEnv(trained, 2, seed=0, obs_type=obs_type, horizon=5)
    agent = PPO(policy, envs, n_steps=8, batch_size=16, n_epochs=1, seed=0, device="cpu")
    before = [weight.clone() for weight in agent.policy.parameters()]
    agent.learn(32)
    assert any(not torch.equal(a, b) for a, b in zip(before, agent.policy.parameters(), strict=True))


def test_images_are_the_default_and_what_ends_restarts(seen_dot):
    envs = WorldModelVecEnv(seen_dot, 4, seed=0, horizon=2)
    first = envs.reset()
    assert first.shape == (4, 16, 16, 3) and first.dtype == np.uint8
    kept = first.copy()
    envs.step(np.ones((4, 1), np.float32))
    _, _, dones, infos = envs.step(np.ones((4, 1), np.float32))
    assert dones.all() and infos[0]["terminal_observation"].shape == (16, 16, 3)
    assert np.array_equal(first, kept)


def test_latent_observations_are_never_decoded(seen_dot, monkeypatch):
    monkeypatch.setattr(seen_dot.model.coders, "decode", None)
    env = WorldModelEnv(seen_dot, obs_type="latent", start="any")
    env.reset(seed=0)
    env.step(np.zeros(1, np.float32))


def test_a_state_goes_on_exactly(seen_dot):
    env = WorldModelEnv(seen_dot, obs_type="image")
    env.reset(seed=3)
    env.step(np.ones(1, np.float32))
    state = env.get_state()
    ahead = [env.step(np.full(1, push, np.float32))[0] for push in (0.1, -0.4)]
    env.set_state(state)
    again = [env.step(np.full(1, push, np.float32))[0] for push in (0.1, -0.4)]
    assert np.array_equal(ahead, again)


def test_a_start_from_the_users_own_frame(seen_dot, moving_dot):
    env = WorldModelEnv(seen_dot, obs_type="latent")
    frame = moving_dot.frames(np.array([0.25]))[0]
    shown, _ = env.reset(seed=0, options={"observation": frame})
    named, _ = env.reset(seed=0, options={"observation": {"eye": frame}})
    assert np.array_equal(shown, named)
    model = seen_dot.model
    held = LiveVideo(10).pass_on(frame)[None]
    code = model.coders.encode("eye", torch.from_numpy(held).permute(0, 3, 1, 2) / 255, 1, torch.device("cpu"))
    assert np.allclose(shown[:3], model.normalizer.observation(code)[0], atol=1e-5)
    film, actions = moving_dot.frames(np.linspace(0, 0.5, 4)), np.full((3, 1), 0.2, np.float32)
    after, _ = env.reset(seed=0, options={"observations": film, "actions": actions})
    last, _ = env.reset(seed=0, options={"observation": film[-1]})
    # The same frame as a video's fourth and as its first: the encoder's rounding differs by a level.
    assert np.allclose(after[:3], last[:3], atol=5e-3) and not np.allclose(after[3:], last[3:], atol=1e-3)
    envs = WorldModelVectorEnv(2, seen_dot, obs_type="latent")
    both, _ = envs.reset(seed=0, options={"observation": np.stack([film[-1], frame])})
    assert np.allclose(both[1], shown, atol=1e-4)


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (np.zeros((3, 16, 16), np.uint8), r"shape \(3, 16, 16\) uint8, \(16, 16, 3\) uint8 is needed: height, width"),
        (np.zeros((64, 64, 3), np.uint8), r"shape \(64, 64, 3\) uint8, \(16, 16, 3\) uint8 is needed"),
        (np.zeros((16, 16, 3)), r"shape \(16, 16, 3\) float64, \(16, 16, 3\) uint8 is needed"),
        (np.zeros((16, 16), np.uint8), r"shape \(16, 16\) uint8, \(16, 16, 3\) uint8 is needed"),
        ({"back": np.zeros((16, 16, 3), np.uint8)}, "names 'back'; this model knows eye, state"),
        ({}, "holds no frame"),
    ],
)
def test_a_frame_of_the_wrong_kind_shows_both_shapes(seen_dot, frame, told):
    env = WorldModelEnv(seen_dot)
    before, _ = env.reset(seed=0)
    with pytest.raises(ObservationError, match=told):
        env.reset(options={"observation": frame})
    assert np.array_equal(env.get_state().observation[0].numpy(), before)


def test_several_cameras_of_different_sizes(make_seen, moving_dot):
    wide = CameraSpec("wide", width=32, height=18)
    trained = make_seen(replace(moving_dot.task, cameras=(moving_dot.camera, wide)), proprioception=True)
    env = WorldModelEnv(trained, obs_type="image", camera="wide", render_mode="rgb_array")
    assert env.reset(seed=0)[0].shape == (18, 32, 3)
    assert env.render().shape == (18, 48, 3)
    state = WorldModelEnv(trained, obs_type="state")
    assert state.observation_space.shape == (2,) and state.reset(seed=0)[0].shape == (2,)
    frame = np.zeros((18, 32, 3), np.uint8)
    env.reset(options={"observation": frame})  # of the shown camera; the other one is imagined
    env.reset(options={"observation": {"wide": frame, "state": np.zeros(2)}})
    with pytest.raises(ConfigError, match="camera='side': this model draws eye, wide"):
        WorldModelEnv(trained, camera="side")


def test_frames_side_by_side():
    joined = side_by_side([np.full((2, 2, 3), 9, np.uint8), np.full((4, 1, 3), 7, np.uint8)])
    assert joined[:, :, 0].tolist() == [[9, 9, 7], [9, 9, 7], [0, 0, 7], [0, 0, 7]]


def test_render_draws_the_camera_whatever_is_shown(seen_dot):
    env = WorldModelEnv(seen_dot, obs_type="latent", render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (16, 16, 3) and picture.dtype == np.uint8
