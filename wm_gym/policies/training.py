"""Training an agent with stable-baselines3, in imagination or in the physics, resumable at any moment."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from tqdm import tqdm

from wm_gym.envs.fused_imagination import without_reports
from wm_gym.envs.sb3 import WorldModelVecEnv
from wm_gym.errors import ConfigError
from wm_gym.files import read_json, write_json
from wm_gym.models import TrainedModel
from wm_gym.models.normalization import Normalizer
from wm_gym.policies.imitation import actor_parameters, imitate
from wm_gym.policies.learners import build_learner, check_settings, export_policy
from wm_gym.policies.policy import Policy
from wm_gym.policies.resume import restore_learner, save_learner
from wm_gym.policies.trials import try_learner
from wm_gym.types import Episode, TaskSpec

_ALGORITHMS = {"imagination": ("ppo", "sac"), "physics": ("ppo", "sac", "a2c")}
_SAVE_EVERY = 30.0  # seconds between two checkpoints
_ALIKE = 0.1  # of the steps: an actor that imitates waits for its critic
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
        trials = _Trials(make_physics(task), config.measure_every, config.seed)
    keeper = _Keeper(work, env, config.steps, identity, progress, trials, bool(demonstrations))
    keeper.resume(learner)
    if demonstrations and learner.num_timesteps == 0:
        assert isinstance(learner, PPO)
        imitate(learner, demonstrations, config.seed)
    if (left := config.steps - learner.num_timesteps) > 0:
        learner.learn(left, callback=keeper, reset_num_timesteps=learner.num_timesteps == 0)
        keeper.save()
    keeper.measure()
    keeper.bar.close()
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


@dataclass(frozen=True)
class _Trials:
    """Of the mean action in the physics, while it is learnt."""

    env: Any
    every: int
    seed: int
    episodes: int = 10


class _Keeper(BaseCallback):
    """Shows progress, keeps the curve and writes checkpoints between rollouts."""

    def __init__(
        self,
        work: Path,
        env: VecEnv,
        steps: int,
        identity: Mapping[str, Any],
        progress: Callable[[int], None] | None = None,
        trials: _Trials | None = None,
        imitated: bool = False,
    ) -> None:
        super().__init__()
        self._work, self._env, self._identity, self._trials = work, env, dict(identity), trials
        self._imitated = imitated
        self.curve: list[dict[str, Any]] = []
        self._before, self._started = 0.0, time.perf_counter()
        self._saved = self._started
        self._steps, self._progress = steps, progress
        look: dict[str, Any] = {"desc": "train", "unit": "step", "unit_scale": True, "mininterval": 0.5}
        self.bar = tqdm(total=steps, file=sys.stderr, disable=progress is not None, **look)

    def elapsed(self) -> float:
        """Seconds of training, those before an interruption included."""
        return self._before + time.perf_counter() - self._started

    def resume(self, learner: BaseAlgorithm) -> None:
        """Take up an earlier call's checkpoint, or claim the folder."""
        record, checkpoint = self._work / "learn.json", self._work / "learner.safetensors"
        if record.exists():
            kept = read_json(record)
            if kept["identity"] != self._identity:
                raise ConfigError(
                    f"{self._work} holds an unfinished training with other settings: finish it with its own settings, "
                    "delete it, or choose another output"
                )
            if checkpoint.exists():
                restore_learner(checkpoint, learner, self._env)
                self.curve = [point for point in kept["curve"] if point["steps"] <= learner.num_timesteps]
                self._before = kept["elapsed"]
                self.bar.update(learner.num_timesteps)
        else:
            write_json(record, {"identity": self._identity, "curve": [], "elapsed": 0.0})

    def save(self) -> None:
        """Write the checkpoint; SB3 is between two rollouts now."""
        # The record first: of points that are newer than the learner's file :meth:`resume` lets go.
        record = {"identity": self._identity, "curve": self.curve, "elapsed": self.elapsed()}
        write_json(self._work / "learn.json", record)
        save_learner(self._work / "learner.safetensors", self.model, self._env)
        self._saved = time.perf_counter()

    def measure(self) -> None:
        """Try the mean action in the physics, where that is asked for and not yet done after these steps."""
        trials, steps = self._trials, self.num_timesteps
        if trials is None or (self.curve and self.curve[-1]["steps"] == steps):
            return
        returns = try_learner(self.model, trials.env, trials.seed, trials.episodes)
        self.curve.append({"steps": steps, "seconds": round(self.elapsed(), 1), "physical": returns})
        self.bar.set_postfix_str(f"return {float(np.mean(returns)):.2f}")

    def _on_rollout_start(self) -> None:
        self.bar.update(min(self.num_timesteps, self._steps) - self.bar.n)
        if self._imitated and isinstance(self.model, PPO):
            for parameter in actor_parameters(self.model):
                parameter.requires_grad_(self.num_timesteps >= _ALIKE * self._steps)
        if self._progress is not None:
            self._progress(self.num_timesteps)
        last = self.curve[-1]["steps"] if self.curve else 0
        if self._trials is not None:
            if self.num_timesteps // self._trials.every > last // self._trials.every:
                self.measure()
        elif self.model.ep_info_buffer and self.num_timesteps - last >= self._steps / 50:
            mean = float(np.mean([episode["r"] for episode in self.model.ep_info_buffer]))
            point = {"steps": float(self.num_timesteps), "seconds": round(self.elapsed(), 1), "return": round(mean, 3)}
            self.curve.append(point)
            self.bar.set_postfix_str(f"return {mean:.2f}")
        if time.perf_counter() - self._saved > _SAVE_EVERY and self.num_timesteps > 0:
            self.save()

    def _on_step(self) -> bool:
        return True
