"""PPO for camera models: in latent imagination, and as the control on the frames of the physics itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack

from wm_gym.envs import LatentObservation, WorldModelEnv
from wm_gym.envs.sb3 import WorldModelVecEnv
from wm_gym.models import TrainedModel
from wm_gym.physics.pixels import make_pixels
from wm_gym.policies.filtered_latents import FilteredLatents, code_noise
from wm_gym.policies.keeper import Keeper
from wm_gym.policies.learners import FallingRate, build_learner, export_policy
from wm_gym.policies.policy import Policy
from wm_gym.types import TaskSpec

_STACKED = 3  # frames that the control sees at once: one shows no velocity


@dataclass(frozen=True)
class LatentLearnConfig:
    """One agent's training."""

    steps: int = 2_000_000
    """Environment steps."""
    num_envs: int = 256
    """Imagined rollouts side by side."""
    seed: int = 0
    start: str = "initial"
    """Imagination begins at ``initial`` or ``any`` recorded moments."""
    horizon: int | None = None
    """Imagined steps of an episode; None for the task's own limit."""
    gamma: float = 0.97
    noise: float = 0.0
    """Of the codes that a filter sees for the agent, as a multiple of :func:`code_noise`; 0: no filter."""


@dataclass(frozen=True)
class LatentLearnResult:
    """What training gave."""

    policy: Policy
    """Acts on latent vectors (D,)."""
    wall_seconds: float
    steps_per_second: float
    """Of the whole training, imagination and updates together."""


def learn_in_latents(
    trained: TrainedModel,
    config: LatentLearnConfig,
    work: Path,
    progress: Callable[[int], None] | None = None,
) -> LatentLearnResult:
    """Train PPO on ``obs_type="latent"``, going on from the checkpoint in ``work``: nothing is drawn.

    Args:
        trained: a camera model.
        config: see :class:`LatentLearnConfig`.
        work: folder for checkpoints. It stays, complete, for the caller to remove once the result is safe.
        progress: told the number of steps taken, between rollouts; None shows a bar.

    Raises:
        ConfigError: ``work`` belongs to another training.
    """
    imagined = WorldModelVecEnv(trained, config.num_envs, obs_type="latent", start=config.start, horizon=config.horizon)
    env: VecEnv = imagined
    if config.noise > 0:
        env = FilteredLatents(imagined, trained, config.noise * code_noise(trained), config.seed)
    settings: Mapping[str, Any] = {
        "n_steps": 50,
        "batch_size": 5 * config.num_envs,
        "n_epochs": 5,
        "learning_rate": FallingRate(1e-3),
        "gamma": config.gamma,
        "policy_kwargs": {"net_arch": [64, 64], "log_std_init": -0.5},
    }
    learner = build_learner("ppo", env, config.seed, config.steps, None, settings)
    env.seed(config.seed * 1_000_003)  # seeds of agents lie apart: no two share a rollout
    model = dict(trained.manifest.get("files", {}))
    keeper = Keeper(work, env, config.steps, asdict(config) | {"model": model}, progress)
    keeper.resume(learner)
    keeper.teach(learner)
    env.close()
    details = {"task": trained.task.name, "algorithm": "ppo", "world": "latent imagination", "seed": config.seed}
    details |= {"steps": learner.num_timesteps, "model": model}
    seconds = keeper.elapsed()
    return LatentLearnResult(export_policy(learner, details), seconds, learner.num_timesteps / seconds)


class PixelLearner:
    """SB3's PPO with its CnnPolicy on the frames of the physics: the control, given as many frames as were recorded."""

    def __init__(self, task: TaskSpec, steps: int, seed: int) -> None:
        """Set it up with SB3's own settings, to train for ``steps`` frames; the last few are stacked."""
        self._env = VecFrameStack(DummyVecEnv([lambda: Monitor(make_pixels(task))]), _STACKED)
        self._task, self._steps, self._seed = task, steps, seed
        rollout = min(2048, steps)  # SB3's own, but it would overshoot a shorter training
        self._learner = PPO("CnnPolicy", self._env, n_steps=rollout, seed=seed, device="cpu")

    def learn(self, work: Path) -> float:
        """Train, going on from the checkpoint in ``work`` if an earlier call left one; returns the wall seconds."""
        seen = [str(camera) for camera in self._task.cameras]
        identity = {"task": self._task.name, "cameras": seen, "steps": self._steps, "seed": self._seed}
        keeper = Keeper(work, None, self._steps, identity)
        keeper.resume(self._learner)
        keeper.teach(self._learner)
        return keeper.elapsed()

    def returns(self, episodes: int, first_seed: int) -> np.ndarray:
        """Return (episodes,) of the mean action in the physics, one episode for each seed from ``first_seed``."""
        earned = []
        for episode in range(episodes):
            self._env.seed(first_seed + episode)
            observation: Any = self._env.reset()
            done, total = False, 0.0
            while not done:
                action, _ = self._learner.predict(observation, deterministic=True)
                observation, reward, ended, _ = self._env.step(action)
                total, done = total + float(reward[0]), bool(ended[0])
            earned.append(total)
        return np.array(earned)


def try_everywhere(trained: TrainedModel, policy: Policy, episodes: int, first_seed: int) -> dict[str, np.ndarray]:
    """Returns (episodes,) of a policy on latent vectors, by world, one episode for each seed from ``first_seed``.

    ``imagined`` acts on the latent states that are imagined, ``refiltered`` on those that a filter makes of the frames
    drawn of them, as it will of a camera's: what is lost between the two is what filtering costs. ``physical``, where
    there is a simulator, is MuJoCo seen through the camera.
    """
    makers: dict[str, Callable[[], gym.Env[Any, Any]]] = {
        "imagined": lambda: WorldModelEnv(trained, obs_type="latent"),
        "refiltered": lambda: LatentObservation(WorldModelEnv(trained, obs_type="image"), trained, live=False),
    }
    if trained.task.env_id is not None:
        makers["physical"] = lambda: LatentObservation(make_pixels(trained.task), trained)
    found = {}
    for name, make in makers.items():
        env = make()
        try:
            found[name] = latent_returns(env, policy, episodes, first_seed)
        finally:
            env.close()
    return found


def latent_returns(env: gym.Env[Any, Any], policy: Policy, episodes: int, first_seed: int) -> np.ndarray:
    """Return (episodes,) of a policy in an environment that shows latent vectors, one episode for each seed."""
    earned = []
    low, high = policy.tensors["low"].numpy(), policy.tensors["high"].numpy()
    for seed in range(first_seed, first_seed + episodes):
        observation, _ = env.reset(seed=seed)
        total, done = 0.0, False
        while not done:
            action, _ = policy.predict(observation)
            observation, reward, terminated, truncated, _ = env.step(np.clip(action, low, high))
            total, done = total + float(reward), bool(terminated or truncated)
        earned.append(total)
    return np.array(earned)
