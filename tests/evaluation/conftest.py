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


@pytest.fixture(scope="session")
def small_report():
    """A whole report in very small: Reacher, judged in a MuJoCo whose motors give only 0.8 of what they should."""
    from types import SimpleNamespace

    from wm_gym.evaluation import judging, report
    from wm_gym.evaluation.actors import RandomActor
    from wm_gym.evaluation.bench import Bench, PanelMember, ReportConfig
    from wm_gym.evaluation.returns import Contender, recorded_returns
    from wm_gym.evaluation.worlds import PhysicsWorld
    from wm_gym.evaluation.worlds.physics import Disturbance
    from wm_gym.physics.tasks import task_spec
    from wm_gym.policies.scripted import write_scripts

    task = task_spec("reacher", cameras=())
    config = ReportConfig(
        episodes=6,
        horizon=12,
        panel_episodes=4,
        moments=8,
        search_starts=2,
        search_samples=8,
        plan_episodes=2,
        plan_steps=5,
        plan_samples=8,
        gap_episodes=2,
        film_starts=0,
    )
    scripts = write_scripts(task.action_space, task.control_dt, 0)
    contenders = [
        Contender("PPO in imagination, seed 0", "imagination", scripts["zero"], {"seed": 0, "note": "a <fake> of it"}),
        Contender("random actions", "random", RandomActor(task.action_space, 0)),
    ]
    earlier = [recorded_returns("SAC in MuJoCo", "control", np.array([-5.0, -6.0, -4.0]), np.random.default_rng(0))]
    physics, weak = PhysicsWorld(task), PhysicsWorld(task, "weak motors", Disturbance(gain=0.8))
    panel = [PanelMember(name, "scripted", script) for name, script in scripts.items()]
    bench = Bench(task, weak, physics, config, contenders, earlier, panel)
    names = [name for name in judging.NAMES if name not in ("controls", "speed")]
    records, kept = judging.measure(bench, names)
    header = {
        "schema_version": report.SCHEMA_VERSION,
        "task": task.to_dict(),
        "settings": config.to_dict(),
        "measured": names,
        "identity": {
            "written": "2026-01-01 00:00 UTC",
            "wall_seconds": 12.5,
            "cpu_seconds": 20.5,
            "model": {"sha256": "cd" * 32, "parameters": 1234},
            "policies": {},
            "machine": {"cores": 2},
            "versions": {"wm_gym": "0.1.0"},
            "seeds": {"report": 0},
            "commands": [{"makes": "this report", "command": "python benchmarks/compare_physics.py a=<b>"}],
        },
        "model_card": {"robot": "Reacher-v5"},
        "data": {"sha256": "ab" * 32, "episodes": 20, "matches_model": True, "shared_starts": 0},
        "camera": {"tested": False, "reason": "this model imagines states, not frames"},
        "film": {"included": False, "reason": "no off-screen drawing here", "caption": ""},
        "limits": report.limits(task, "committed"),
    }
    values = judging.judge(header, records)
    return SimpleNamespace(bench=bench, header=header, records=records, kept=kept, values=values)
