"""Training an agent with stable-baselines3, in imagination or in the physics, resumable at any moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from wm_gym.envs.fused_imagination import without_reports
from wm_gym.envs.sb3 import WorldModelVecEnv
from wm_gym.errors import ConfigError
from wm_gym.models import TrainedModel
from wm_gym.models.normalization import Normalizer
from wm_gym.policies.imitation import imitate
from wm_gym.policies.keeper import Keeper, Trials
from wm_gym.policies.learners import build_learner, check_settings, export_policy
from wm_gym.policies.policy import Policy
from wm_gym.types import Episode, TaskSpec

_ALGORITHMS = {"imagination": ("ppo", "sac"), "physics": ("ppo", "sac", "a2c")}
_SEED_GAP = 1_000_003  # rows of one seed lie apart from those of the next: agents of different seeds share no rollout


@dataclass(frozen=True)
class LearnConfig:
    """One agent's training."""

    algorithm: str = "ppo"
    """``ppo``, ``sac`` or, in the physics, ``a2c``."""
    world: str = "imagination"
    """``imagination`` or ``physics``."""
    steps: int = 2_000_000
    """Environment steps; 0 leaves an agent as the demonstrations made it."""
    num_envs: int = 512
    """Rollouts side by side; the physics is one robot at a time unless more are asked for."""
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the algorithm that replace ours."""
    imagination: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of ``WorldModel-v0``; what would only be reported is omitted, as nobody reads it here."""
    normalize: bool = False
    """Scale what the agent learns from: in the physics observations and rewards, by running statistics (SB3's
    ``VecNormalize``); in imagination, where the model scales observations anyway, the rewards, see
    :class:`ScaledRewards`."""
    measure_every: int | None = None
    """Steps in the physics between two trials of the mean action there; None tries the finished agent alone."""

    def check(self) -> None:
        """Raise ``ConfigError`` on a value that does not exist."""
        if self.world not in _ALGORITHMS:
            raise ConfigError(f"world={self.world!r}: {' or '.join(_ALGORITHMS)}")
        if self.algorithm not in (known := _ALGORITHMS[self.world]):
            raise ConfigError(f"algorithm={self.algorithm!r}: in {self.world} one of {', '.join(known)}")
        if self.measure_every is not None:
            self._check_trials(self.measure_every)
        check_settings(self.algorithm, self.settings)
        if self.num_envs < 1 or self.steps < 0:
            name = "steps" if self.steps < 0 else "num_envs"
            raise ConfigError(f"{name}={getattr(self, name)}: a positive number is needed")

    def _check_trials(self, every: int) -> None:
        if self.world != "physics" or self.normalize:
            raise ConfigError(f"measure_every={every}: only for world=physics, without normalize")
        if every < 1:
            raise ConfigError(f"measure_every={every}: a positive number is needed")


@dataclass(frozen=True)
class LearnResult:
    """What training gave."""

    policy: Policy
    curve: list[dict[str, Any]]
    """Steps, wall seconds and mean return of the last hundred episodes of the training world, as it went; with
    ``measure_every`` instead the returns of the trials, as ``physical``."""
    wall_seconds: float
    steps: int
    """Taken; whole rollouts may be a few more than were asked for."""


def learn(
    config: LearnConfig,
    task: TaskSpec,
    trained: TrainedModel | None,
    work: Path,
    make_physics: Callable[[TaskSpec], Any] | None = None,
    progress: Callable[[int], None] | None = None,
    normalizer: Normalizer | None = None,
    demonstrations: Sequence[Episode] = (),
) -> LearnResult:
    """Train an agent, going on from the checkpoint in ``work`` if an earlier call left one.

    Args:
        config: see :class:`LearnConfig`.
        task: the robot.
        trained: the world model; None in the physics.
        work: folder for checkpoints. It stays, complete, for the caller to remove once the result is safe.
        make_physics: builds the physical environment, needed for ``world="physics"``.
        progress: told the steps taken, between rollouts; None shows a bar.
        normalizer: scales the observations, and gives the physics the settings of the imagination; None: the model's
            own in imagination, none in the physics.
        demonstrations: what PPO's actor does before it learns, see :func:`~wm_gym.policies.imitation.imitate`; it
            then stays so for the first tenth of the steps, in which the critic learns what that is worth.

    Raises:
        ConfigError: a setting does not exist, or ``work`` belongs to another training.
    """
    config.check()
    if config.steps == 0 and not demonstrations:
        raise ConfigError("steps=0: a positive number is needed where nothing is imitated")
    env = _world(config, task, trained, make_physics)
    inside = trained if config.world == "imagination" else None
    learner = _learner(config, env, inside, normalizer)
    identity = _identity(config, task, inside, normalizer)
    if demonstrations:
        _check_demonstrations(config, task, demonstrations)
        identity["demonstrations"] = [float(episode.rewards.sum()) for episode in demonstrations]
    trials = None
    if config.measure_every is not None and make_physics is not None:
        identity["measure_every"] = config.measure_every
        trials = Trials(make_physics(task), config.measure_every, config.seed)
    keeper = Keeper(work, env, config.steps, identity, progress, trials=trials, imitated=bool(demonstrations))
    keeper.resume(learner)
    if demonstrations and learner.num_timesteps == 0:
        assert isinstance(learner, PPO)
        imitate(learner, demonstrations, config.seed)
    keeper.teach(learner)
    env.close()
    details = {name: identity[name] for name in ("task", "algorithm", "world", "seed", "model")}
    policy = export_policy(learner, {**details, "steps": learner.num_timesteps})
    return LearnResult(policy, keeper.curve, keeper.elapsed(), learner.num_timesteps)


def _learner(
    config: LearnConfig, env: VecEnv, inside: TrainedModel | None, normalizer: Normalizer | None
) -> BaseAlgorithm:
    """A fresh learner that sees the environment in the scales that are asked for."""
    scales = inside.model.normalizer if normalizer is None and inside is not None else normalizer
    if not config.normalize or inside is None:
        learner = build_learner(config.algorithm, env, config.seed, config.steps, scales, config.settings)
    elif "reward_fn" in config.imagination:
        raise ConfigError(
            "normalize=true: scales the rewards that the model learnt; scale what reward_fn gives yourself"
        )
    else:
        scaled = ScaledRewards(env)
        learner = build_learner(config.algorithm, scaled, config.seed, config.steps, scales, config.settings)
        scaled.fit(inside.model.normalizer, learner.gamma)  # type: ignore[attr-defined]
    if isinstance(env, WorldModelVecEnv):
        env.seed(config.seed * _SEED_GAP)  # SB3 has just seeded it with the bare seed
    return learner


def _identity(
    config: LearnConfig, task: TaskSpec, inside: TrainedModel | None, normalizer: Normalizer | None
) -> dict[str, Any]:
    """What makes two trainings one."""
    identity = {
        "task": task.name,
        "algorithm": config.algorithm,
        "world": config.world,
        "steps": config.steps,
        "num_envs": config.num_envs,
        "seed": config.seed,
        "settings": {k: str(v) for k, v in config.settings.items()},
        "imagination": {k: str(v) for k, v in config.imagination.items()},
        "normalize": config.normalize,
        "model": None if inside is None else dict(inside.manifest.get("files", {})),
    }
    if normalizer is not None:
        identity["scales"] = normalizer.mean.tolist() + normalizer.std.tolist()
    return identity


def _check_demonstrations(config: LearnConfig, task: TaskSpec, demonstrations: Sequence[Episode]) -> None:
    if config.algorithm != "ppo" or config.world != "imagination":
        raise ConfigError(
            f"algorithm={config.algorithm!r}, world={config.world!r}: only ppo in imagination begins by imitating"
        )
    shown = (demonstrations[0].observations.shape[1], demonstrations[0].actions.shape[1])
    if shown != (wanted := (task.observation_space.size, task.action_space.size)):
        raise ConfigError(
            f"what is imitated has {shown[0]} observations and {shown[1]} actions, {task.name} {wanted[0]} and "
            f"{wanted[1]}: another robot's recording"
        )


def _world(
    config: LearnConfig,
    task: TaskSpec,
    trained: TrainedModel | None,
    make_physics: Callable[[TaskSpec], Any] | None,
) -> VecEnv:
    if config.world == "imagination":
        if trained is None:
            raise ConfigError("world=imagination needs a model: model=NAME or model=FOLDER")
        if "reward" in trained.unrecorded and "reward_fn" not in config.imagination:
            raise ConfigError(
                f"{task.name} was logged without a reward: nothing can be earned; give reward_fn in Python"
            )
        return WorldModelVecEnv(trained, config.num_envs, **without_reports(trained, config.imagination))
    if make_physics is None or task.env_id is None:
        raise ConfigError(f"{task.name} has no simulator: world=physics is not possible")
    build = make_physics
    env = DummyVecEnv([lambda: Monitor(build(task))] * config.num_envs)
    env.seed(config.seed)
    return VecNormalize(env) if config.normalize else env


class ScaledRewards(VecEnvWrapper):
    """Rewards in units in which a discounted return is about one, whatever the robot and the discount.

    A critic begins at nought and moves by its learning rate: returns in the hundreds it learns late, and until then the
    agent sees no further than its advantages reach.
    """

    scale = 1.0

    def fit(self, normalizer: Normalizer, gamma: float) -> None:
        """Take the scale from the rewards that the model was fitted to."""
        typical = max(abs(float(normalizer.reward_mean)), float(normalizer.reward_std))
        self.scale = (1 - gamma) / typical if typical > 0 and gamma < 1 else 1.0

    def reset(self) -> Any:
        """As the environment inside."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """As the environment inside, with scaled rewards; ``info["episode"]`` stays in the robot's own units."""
        observations, rewards, dones, infos = self.venv.step_wait()
        return observations, rewards * np.float32(self.scale), dones, infos
