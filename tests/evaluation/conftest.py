"""A world small enough to work out by hand: a point that moves by its action, in physics and in imagination.

x' = x + a      reward = -|x'|, or -|x'| + promise in the imagination      an episode lasts LIMIT steps
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector.utils import batch_space

from wm_gym.models.world_model import WorldModel
from wm_gym.types import BoxSpec, Episode, LatentState, Prediction, TaskSpec

LIMIT = 5
TASK = TaskSpec(
    name="point",
    observation_space=BoxSpec((-np.inf, -np.inf), (np.inf, np.inf)),
    action_space=BoxSpec((-1.0, -1.0), (1.0, 1.0)),
    control_dt=0.1,
    max_episode_steps=LIMIT,
    env_id="Point-v0",
)


class PointModel(WorldModel):
    """The exact model, unless ``drift`` is added to every imagined step."""

    family = "point"
    context = 0

    def __init__(self, drift: float = 0.0, break_at: float = np.inf) -> None:
        super().__init__(TASK)
        self.obs_types = ("state",)
        self.noise_size = 0
        self._drift, self._break_at = drift, break_at

    def encode(self, observation):
        return observation.state

    def observe(self, latent, action, embedding, noise=None):
        return LatentState({"x": embedding})

    def choose(self, latent, noise):
        return latent

    def imagine(self, latent, action, noise=None):
        following = latent["x"] + action + self._drift
        return LatentState({"x": torch.where(following.abs() > self._break_at, torch.nan, following)})

    def predict(self, latent):
        x = latent["x"]
        return Prediction(-x.abs().sum(-1), torch.ones(len(x)), torch.zeros(len(x)), state=x)

    def loss(self, segment, horizon):
        raise NotImplementedError

    def config(self):
        return {}


class PointEnv(gym.Env):
    """The physics; starts at integers drawn from the seed."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.x, self._limit, self._steps = np.zeros(2), limit, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self._steps = self.np_random.integers(-3, 4, size=2).astype(np.float64), 0
        return self.x.copy(), {}

    def step(self, action):
        self.x = self.x + np.asarray(action, dtype=np.float64)
        self._steps += 1
        return self.x.copy(), -float(np.abs(self.x).sum()), False, self._steps >= self._limit, {}


class PointImagination(gym.vector.VectorEnv):
    """The imagination: promises ``promise`` more reward a step; resets in the same step."""

    def __init__(self, num_envs: int, promise: float = 0.0, limits: tuple[int, ...] = ()) -> None:
        self.num_envs = num_envs
        self.single_observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.single_action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._promise = promise
        self._limits = np.array(limits or (LIMIT,) * num_envs)

    def reset(self, *, seed=None, options=None):
        self.x = np.array(options["observation"], dtype=np.float32)
        self.steps = np.zeros(self.num_envs, dtype=int)
        return self.x.copy(), {}

    def step(self, actions):
        self.x = self.x + actions
        self.steps += 1
        reward = -np.abs(self.x).sum(-1) + self._promise
        done = self.steps >= self._limits
        info = {"final_obs": self.x.copy(), "_final_obs": done} if done.any() else {}
        self.x[done], self.steps[done] = 99.0, 0
        return self.x.copy(), reward, np.zeros(self.num_envs, dtype=bool), done, info


def make_episode(observations, actions=None, rewards=None, behaviour="random", seed=0):
    """An episode from its rows; actions are the differences, as the world has it, unless given."""
    observations = np.asarray(observations, dtype=np.float32)
    actions = np.diff(observations, axis=0) if actions is None else np.asarray(actions, dtype=np.float32)
    rewards = -np.abs(observations[1:]).sum(-1) if rewards is None else np.asarray(rewards, dtype=np.float32)
    return Episode(
        observations,
        actions,
        rewards,
        terminated=False,
        truncated=True,
        control_dt=0.1,
        qpos=observations.astype(np.float64),
        qvel=np.zeros_like(observations, dtype=np.float64),
        behaviour=behaviour,
        seed=seed,
    )


@pytest.fixture
def task():
    return TASK


@pytest.fixture
def episodes():
    """Twenty random walks of twelve steps."""
    generator = np.random.default_rng(0)
    return [make_episode(generator.uniform(-1, 1, size=(13, 2)).cumsum(0), seed=n) for n in range(20)]


@pytest.fixture
def world():
    """The classes above, for tests that need their own."""
    from types import SimpleNamespace

    return SimpleNamespace(
        Model=PointModel, Env=PointEnv, Imagination=PointImagination, make_episode=make_episode, limit=LIMIT
    )
