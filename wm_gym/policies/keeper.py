"""What goes on between two rollouts of a learner: progress, its curve, trials, and a checkpoint to go on from."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from tqdm import tqdm

from wm_gym.files import read_json, write_json
from wm_gym.policies.imitation import actor_parameters
from wm_gym.policies.resume import check_same_training, restore_learner, save_learner
from wm_gym.policies.trials import try_learner

_SAVE_EVERY = 30.0  # seconds between two checkpoints
_ALIKE = 0.1  # of the steps: an actor that imitates waits for its critic


@dataclass(frozen=True)
class Trials:
    """Of the mean action in the physics, while it is learnt."""

    env: Any
    every: int
    seed: int
    episodes: int = 10


class Keeper(BaseCallback):
    """Shows progress, keeps the curve and writes checkpoints between rollouts."""

    def __init__(
        self,
        work: Path,
        env: VecEnv | None,
        steps: int,
        identity: Mapping[str, Any],
        progress: Callable[[int], None] | None = None,
        trials: Trials | None = None,
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
            check_same_training(self._work, kept["identity"], self._identity)
            if checkpoint.exists():
                restore_learner(checkpoint, learner, self._env)
                self.curve = [point for point in kept["curve"] if point["steps"] <= learner.num_timesteps]
                self._before = kept["elapsed"]
                self.bar.update(learner.num_timesteps)
        else:
            write_json(record, {"identity": self._identity, "curve": [], "elapsed": 0.0})

    def teach(self, learner: BaseAlgorithm) -> None:
        """Take the steps that are left."""
        self.model, self.num_timesteps = learner, learner.num_timesteps  # where none are, SB3 does not say so
        if (left := self._steps - learner.num_timesteps) > 0:
            learner.learn(left, callback=self, reset_num_timesteps=learner.num_timesteps == 0)
            self.save()
        self._tell()
        self.measure()
        self.bar.close()

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

    def _tell(self) -> None:
        self.bar.update(min(self.num_timesteps, self._steps) - self.bar.n)
        if self._progress is not None:
            self._progress(self.num_timesteps)

    def _on_rollout_start(self) -> None:
        self._tell()
        if self._imitated and isinstance(self.model, PPO):
            for parameter in actor_parameters(self.model):
                parameter.requires_grad_(self.num_timesteps >= _ALIKE * self._steps)
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
