"""The environment in processes of its own, and a thousand times over: nothing hangs, and nothing is left open."""

import gc
import os
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import SubprocVecEnv

import wm_gym  # noqa: F401  (registers the id)
from wm_gym.envs import WorldModelEnv
from wm_gym.testing import inputs


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "toy"
    inputs.make_model().save(folder)
    return str(folder)


def make(model, **settings):
    return gymnasium.make("wm_gym:WorldModel-v0", model=model, **settings)


IMPORTING = pytest.param("spawn", marks=pytest.mark.slow)  # every process imports torch anew


@pytest.mark.parametrize("method", ["forkserver", IMPORTING])
def test_sb3_learns_in_processes_of_its_own(model, method):
    env = SubprocVecEnv([partial(make, model)] * 2, start_method=method)
    try:
        env.seed(3)
        first = env.reset()
        alone = WorldModelEnv(model)
        assert np.allclose(first, [alone.reset(seed=3 + row)[0] for row in range(2)])
        action = np.full((2, 2), 0.5, np.float32)
        shown, rewards, *_ = env.step(action)
        assert np.isfinite(shown).all() and np.isfinite(rewards).all()
        learner = PPO("MlpPolicy", env, n_steps=8, batch_size=8, n_epochs=1, seed=0)
        learner.learn(32)
        assert learner.num_timesteps == 32
    finally:
        env.close()


@pytest.mark.parametrize("method", [None, IMPORTING])
def test_gymnasium_steps_it_in_processes_of_its_own(model, method):
    env = AsyncVectorEnv([partial(make, model)] * 2, context=method, autoreset_mode=AutoresetMode.SAME_STEP)
    try:
        observation, _ = env.reset(seed=5)
        native = gymnasium.make_vec("wm_gym:WorldModel-v0", num_envs=2, model=model)
        expected, _ = native.reset(seed=5)
        for _ in range(7):  # an episode has five steps: both begin anew on the way
            assert np.allclose(observation, expected, atol=1e-5)
            action = np.full((2, 2), 0.25, np.float32)
            observation, reward, terminated, truncated, _ = env.step(action)
            expected, same_reward, same_terminated, same_truncated, _ = native.step(action)
            assert np.allclose(reward, same_reward, atol=1e-5)
            assert (terminated == same_terminated).all() and (truncated == same_truncated).all()
    finally:
        env.close()


def open_files():
    return sorted(os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.exists())


def resident_megabytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def cycle(model, times):
    for _ in range(times):
        env = make(model)
        env.reset(seed=0)
        env.step(env.action_space.sample())
        env.close()


@pytest.mark.slow
def test_a_thousand_environments_leave_no_memory_and_no_file(model):
    cycle(model, 100)
    gc.collect()
    files, before = open_files(), resident_megabytes()
    cycle(model, 1000)
    gc.collect()
    assert open_files() == files
    assert resident_megabytes() - before < 10


def test_thirty_environments_leave_no_file(model):
    cycle(model, 3)
    files = open_files()
    cycle(model, 30)
    assert open_files() == files


@pytest.mark.slow
def test_a_hundred_renderers_leave_no_memory_and_no_file():
    pytest.importorskip("mujoco")
    from wm_gym.physics.camera import why_no_camera

    if reason := why_no_camera():
        pytest.skip(reason)

    def draw(times):
        for _ in range(times):
            env = gymnasium.make("wm_gym:WorldModel-v0", render_mode="rgb_array")
            env.reset(seed=0)
            assert env.render().ndim == 3
            env.close()

    draw(20)
    gc.collect()
    files, before = len(open_files()), resident_megabytes()
    draw(100)
    gc.collect()
    assert len(open_files()) <= files
    assert resident_megabytes() - before < 50
