"""Learning a robot from scratch: a few real steps, a refitted world model, short imagined branches, SAC on both.

stable-baselines3's SAC runs its own loop in the physics. Between its rollouts the callback here refits the model to all
that the robot has done and lets the current policy imagine short branches from recorded states, which SAC's replay
buffer then mixes with the real steps.

Source: Janner et al. 2019, "When to Trust Your Model" (MBPO), algorithm 2; the horizon grows as in its appendix C.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv
from tqdm import tqdm

from wm_gym.data.segments import Windows
from wm_gym.envs.imagination import Imagination
from wm_gym.envs.imagination_config import ImaginationConfig
from wm_gym.errors import ConfigError
from wm_gym.files import read_json, replacing_folder, write_json
from wm_gym.models.checkpoint import read_tensors, write_tensors
from wm_gym.models.fitting import FitConfig, fit
from wm_gym.models.state_ensemble import StateEnsemble, StateEnsembleConfig
from wm_gym.models.temperature import choose_temperature
from wm_gym.models.trained import StartStates, TrainedModel
from wm_gym.models.trust import Calibration, Support
from wm_gym.policies.fused_sac import FusedSAC
from wm_gym.policies.learners import export_policy
from wm_gym.policies.mixed_replay import MixedReplay, recorded_episodes
from wm_gym.policies.policy import Policy
from wm_gym.policies.resume import check_same_training, restore_learner, save_learner
from wm_gym.policies.trials import imagine_returns, try_learner
from wm_gym.types import Episode, Segment, TaskSpec

_PIECE = 100  # steps: long episodes are cut, so that a part of the first one can be kept for validation
_JUDGED = 25  # imagined steps over which a refit is chosen and calibrated
_ROWS = 2000  # branches imagined side by side


@dataclass(frozen=True)
class DynaConfig:
    """One robot learnt from scratch."""

    steps: int = 40_000
    """Real steps."""
    seed: int = 0
    warm_up: int = 1_000
    """Real steps of random actions before the first fit."""
    refit_every: int = 1_000
    """Real steps between two fits of the world model."""
    first_fit: int = 3_000
    """Gradient steps of the first fit; it starts from nothing."""
    refit: int = 400
    """Gradient steps of every later one; it starts from the last."""
    fit_horizon: int = 4
    """Imagined steps along which the model is fitted."""
    width: int = 200
    """Of the model's layers."""
    imagined: int = 50_000
    """Transitions imagined after every fit."""
    branch: tuple[int, int] = (1, 1)
    """Imagined steps of a branch, at the first fit and from ``climb[1]`` real steps on."""
    climb: tuple[int, int] = (0, 1)
    """Real steps between which the branch grows linearly."""
    updates_per_step: int = 4
    """Gradient steps of SAC for each real step."""
    real_share: float = 0.05
    """Of every batch."""
    uncertainty: str = "report"
    """``penalize`` or ``truncate`` make branches wary."""
    penalty: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of SAC that replace ours."""
    measure_every: int = 5_000
    """Real steps between two trials in both worlds."""
    episodes: int = 10
    """Of a trial."""

    def check(self) -> None:
        """Raise ``ConfigError`` on a value that does not exist."""
        numbers = ("steps", "warm_up", "refit_every", "first_fit", "refit", "imagined", "updates_per_step", "episodes")
        for name in (*numbers, "measure_every", "fit_horizon", "width"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: a positive number is needed")
        if min(self.branch) < 1 or self.climb[1] <= self.climb[0]:
            raise ConfigError(f"branch={self.branch}, climb={self.climb}: at least one step, over a rising range")
        if not 0 < self.real_share <= 1:
            raise ConfigError(f"real_share={self.real_share}: above 0 and at most 1")

    def branch_steps(self, real: int) -> int:
        """Imagined steps of a branch after so many real ones."""
        share = (real - self.climb[0]) / (self.climb[1] - self.climb[0])
        return round(self.branch[0] + min(max(share, 0.0), 1.0) * (self.branch[1] - self.branch[0]))


@dataclass(frozen=True)
class DynaResult:
    """What came of it."""

    policy: Policy
    learner: SAC
    """To be saved for stable-baselines3."""
    model: TrainedModel
    curve: list[dict[str, Any]]
    """Of every trial: real steps, seconds, returns in the physics, the mean imagined return, and the gap."""
    wall_seconds: float


def learn_from_scratch(
    config: DynaConfig, task: TaskSpec, make_physics: Callable[[TaskSpec], Any], work: Path
) -> DynaResult:
    """Learn a robot, going on from the checkpoint in ``work`` if an earlier call left one.

    Args:
        config: see :class:`DynaConfig`.
        task: the robot.
        make_physics: builds its environment.
        work: folder for checkpoints. It stays, complete, for the caller to remove once the result is safe.

    Raises:
        ConfigError: a setting does not exist, or ``work`` belongs to another training.
    """
    config.check()
    env = DummyVecEnv([lambda: Monitor(make_physics(task))])
    env.seed(config.seed)
    chunk = min(50, config.refit_every)
    settings: dict[str, Any] = {
        "seed": config.seed,
        "device": "cpu",
        "learning_starts": config.warm_up,
        "train_freq": (chunk, "step"),
        "gradient_steps": chunk * config.updates_per_step,
        "buffer_size": config.steps + chunk,
        "policy_kwargs": {"net_arch": [128, 128]},  # a quarter of SB3's arithmetic: what counts here is many updates
        "replay_buffer_class": MixedReplay,
        "replay_buffer_kwargs": {"real_share": config.real_share, "imagined_size": 4 * config.imagined},
    }
    learner = FusedSAC("MlpPolicy", env, **settings | dict(config.settings))
    loop = _Loop(config, task, make_physics(task), work, learner)
    loop.resume()
    if (left := config.steps - learner.num_timesteps) > 0:
        learner.learn(left, callback=loop, reset_num_timesteps=learner.num_timesteps == 0)
    loop.finish()
    env.close()
    details = {"task": task.name, "algorithm": "sac", "world": "both", "seed": config.seed, "steps": config.steps}
    return DynaResult(export_policy(learner, details), learner, loop.trained, loop.curve, loop.elapsed())


@dataclass(frozen=True)
class _Data:
    """What the robot has done."""

    episodes: list[Episode]
    known: list[Episode]
    """Pieces to fit."""
    validation: Segment

    @property
    def steps(self) -> int:
        return sum(len(episode) for episode in self.episodes)


class _Loop(BaseCallback):
    """What happens between SAC's rollouts: refit, imagine, measure, save."""

    def __init__(self, config: DynaConfig, task: TaskSpec, trial_env: Any, work: Path, learner: SAC) -> None:
        super().__init__()
        self._config, self._task, self._trial_env, self._work, self._learner = config, task, trial_env, work, learner
        torch.manual_seed(config.seed)
        self._world = StateEnsemble(task, StateEnsembleConfig(width=config.width))
        self.trained: TrainedModel = None  # type: ignore[assignment]  # until the first fit
        self.curve: list[dict[str, Any]] = []
        self._fitted = self._measured = 0
        self._branches = 0  # so far: the counter of their seeds
        self._before, self._started = 0.0, time.perf_counter()
        self._bar = tqdm(total=config.steps, desc="learn", unit="step", file=sys.stderr, mininterval=0.5)

    def elapsed(self) -> float:
        """Seconds, those before an interruption included."""
        return self._before + time.perf_counter() - self._started

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        steps = self.num_timesteps
        self._bar.update(min(steps, self._config.steps) - self._bar.n)
        if steps < self._config.warm_up or steps - self._fitted < (self._config.refit_every if self._fitted else 0):
            return
        self._refit()
        self._imagine()
        if steps - self._measured >= self._config.measure_every:
            self._measure()
        self._save()

    def finish(self) -> None:
        """The last trial, with the last policy and a model of everything."""
        if not self.curve or self.curve[-1]["steps"] < self._learner.num_timesteps:
            self._refit()
            self._measure()
            self._save()
        self._bar.close()
        self._trial_env.close()

    def _refit(self) -> None:
        """Fit the model to all that the robot has done, from where the last fit left it."""
        config, data = self._config, self._data()
        self._world.requires_grad_(True)
        self._world.fit_scales(data.known)
        updates = config.refit if self._fitted else config.first_fit
        climb = tuple(2**power for power in range(config.fit_horizon.bit_length()))
        fit_config = FitConfig(
            updates=updates,
            horizons=(config.fit_horizon,) if self._fitted else climb,
            learning_rate=1e-3 if self._fitted else 2e-3,
            ema=0.99,
            evaluate_every=max(1, updates // 4),
            selection_horizon=_JUDGED,
        )
        windows = Windows(data.known, config.fit_horizon)
        fit(self._world, windows, data.validation, fit_config, config.seed + self._fitted)
        self._fitted = self._learner.num_timesteps
        self._ready(data)

    def _data(self) -> _Data:
        """What the robot has done so far; every eighth piece of it is kept from the fit."""
        episodes = recorded_episodes(self._replay(), self._learner.policy.unscale_action, self._task.control_dt)
        pieces = _pieces(episodes)
        held_out = pieces[4::8] or pieces[-1:]
        known = [piece for index, piece in enumerate(pieces) if index % 8 != 4] or pieces
        length = min(_JUDGED, max(len(piece) for piece in held_out))
        return _Data(episodes, known, next(Windows(held_out, length).all(5)))

    def _ready(self, data: _Data) -> None:
        """What imagination needs besides the weights."""
        self._world.eval().requires_grad_(False)
        choose_temperature(self._world, data.validation, self._config.seed)
        none = [torch.zeros(count, 0, self._task.action_space.size) for count in (len(data.episodes), data.steps)]
        initial = torch.from_numpy(np.stack([episode.observations[:1] for episode in data.episodes]))
        moments = torch.from_numpy(np.concatenate([episode.observations[:-1] for episode in data.episodes])[:, None])
        states = torch.from_numpy(np.concatenate([episode.observations[1:] for episode in data.known]))
        actions = torch.from_numpy(np.concatenate([episode.actions for episode in data.known]))
        support, judged = Support.measure(states, actions), [(data.validation, torch.arange(len(data.validation.mask)))]
        calibration = Calibration.measure(self._world, support, judged, torch.Generator().manual_seed(0))
        starts = StartStates(initial, none[0], moments, none[1])
        self.trained = TrainedModel(self._world, starts, support, calibration, {})

    def _imagine(self) -> None:
        """Let the current policy act for a few steps from recorded moments, and keep what it imagines."""
        config = self._config
        length = config.branch_steps(self.num_timesteps)
        rules = ImaginationConfig(
            horizon=length + 1,  # a branch that ends because it is long enough is no end of an episode
            start="any",
            uncertainty=config.uncertainty,  # type: ignore[arg-type]
            penalty=config.penalty,
        )
        imagination, kept = Imagination(self.trained, rules), 0
        while kept < config.imagined:
            seeds = config.seed * 1_000_003 + self._branches + torch.arange(_ROWS)
            self._branches += _ROWS
            state = imagination.begin(seeds)
            for _ in range(length):
                action, _ = self._learner.predict(state.observation.numpy(), deterministic=False)
                following, shown = imagination.step(state, torch.from_numpy(action))
                valid = ~shown.invalid
                self._replay().imagine(
                    observations=state.observation[valid],
                    actions=torch.from_numpy(self._learner.policy.scale_action(action))[valid],
                    next_observations=shown.observation[valid],
                    dones=shown.terminated[valid],
                    rewards=shown.reward[valid],
                )
                kept += int(valid.sum())
                going = torch.nonzero(~(shown.terminated | shown.truncated)).squeeze(1)
                if len(going) == 0:
                    break
                state = following.rows(going)

    def _measure(self) -> None:
        """Try the mean action in the physics and, over whole episodes, in imagination: the gap shows exploitation."""
        returns = try_learner(self._learner, self._trial_env, self._config.seed, self._config.episodes)
        dreamt = imagine_returns(self.trained, self._learner, 4 * self._config.episodes)
        physical, imagined = float(np.mean(returns)), dreamt.mean().item()
        point = {
            "steps": self._learner.num_timesteps,
            "seconds": round(self.elapsed(), 1),
            "physical": returns,
            "imagined": round(imagined, 3),
            "gap": round(imagined - physical, 3),
        }
        self.curve.append(point)
        self._measured = self._learner.num_timesteps
        self._bar.set_postfix_str(f"return {physical:.1f}, imagined {imagined:.1f}")

    def _replay(self) -> MixedReplay:
        replay = self._learner.replay_buffer
        assert isinstance(replay, MixedReplay)
        return replay

    # --- checkpoints ---

    def _identity(self) -> dict[str, Any]:
        plain = {name: str(value) for name, value in asdict(self._config).items()}
        return {**plain, "task": self._task.name}

    def resume(self) -> None:
        """Take up an earlier call's checkpoint, or claim the folder."""
        record = self._work / "dyna.json"
        if not record.exists():
            write_json(record, self._identity())
            return
        check_same_training(self._work, read_json(record), self._identity())
        folder = self._work / "checkpoint"
        if not folder.exists():
            return
        restore_learner(folder / "learner.safetensors", self._learner, None)
        tensors = read_tensors(folder / "imagination.safetensors")
        prefix = "model."
        weights = {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}
        self._world.load_state_dict(weights)
        replay = self._replay()
        replay.filled, replay.place, self._fitted, self._measured, self._branches = tensors["counts"].tolist()
        for name, rows in replay.imagined.items():
            rows[: replay.filled] = tensors[f"imagined.{name}"]
        self._ready(self._data())
        kept = read_json(folder / "curve.json")
        self.curve, self._before = kept["curve"], kept["elapsed"]
        self._bar.update(self._learner.num_timesteps)

    def _save(self) -> None:
        replay = self._replay()
        tensors = {f"model.{name}": value for name, value in self._world.state_dict().items()}
        tensors |= {f"imagined.{name}": kept[: replay.filled] for name, kept in replay.imagined.items()}
        counts = [replay.filled, replay.place, self._fitted, self._measured, self._branches]
        tensors["counts"] = torch.tensor(counts)
        with replacing_folder(self._work / "checkpoint") as partial:
            save_learner(partial / "learner.safetensors", self._learner, None)
            write_tensors(partial / "imagination.safetensors", tensors)
            write_json(partial / "curve.json", {"curve": self.curve, "elapsed": self.elapsed()})


def _pieces(episodes: Sequence[Episode]) -> list[Episode]:
    """Episodes cut into pieces of at most a hundred steps."""
    pieces = []
    for episode in episodes:
        for first in range(0, len(episode), _PIECE):
            last = min(first + _PIECE, len(episode))
            ended = episode.terminated and last == len(episode)
            pieces.append(
                Episode(
                    observations=episode.observations[first : last + 1],
                    actions=episode.actions[first:last],
                    rewards=episode.rewards[first:last],
                    terminated=ended,
                    truncated=not ended,
                    control_dt=episode.control_dt,
                )
            )
    return pieces
