"""A gate between a policy and a real robot: it stops, or hands over, when the robot is not the one that was learnt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from wm_gym.envs.spaces import batched_actions
from wm_gym.envs.surprise import GateCalibration, Judged, check_model, weights_hash
from wm_gym.errors import ConfigError, ModelError, ObservationError
from wm_gym.models import TrainedModel, load_model

Array = np.ndarray[Any, np.dtype[Any]]
Fallback = Callable[[Array], Array]
"""(S,) an observation, always finite -> (A,) an action."""


class SafetyGate(gym.Wrapper[Array, Array, Array, Array]):
    """Compares each observation of a real environment with what its world model expected one step before.

    After an alarm, until the next reset, the policy's actions are not carried out any more. With a ``fallback`` the
    episode goes on under its actions. Without one the episode is ``truncated`` with ``info["stopped"]``, and the robot
    is not moved again.

    ``info["gate"]`` of every step holds ``alarm`` (True from the alarm on), ``acting`` (who chose this step's action:
    ``policy``, ``fallback`` or ``nobody``), ``score`` and ``threshold``. From the alarm on ``score`` is the alarm's,
    beside its ``step``, its ``reason`` (``jump``, ``drift``, ``support`` or ``not finite``) and ``dimension``, the
    observed number most at fault.

    A reading that is not finite raises an alarm; its last finite value is shown in its place.
    """

    def __init__(
        self,
        env: gym.Env[Array, Array],
        model: str | Path | TrainedModel,
        calibration: GateCalibration | str | Path,
        fallback: Fallback | None = None,
    ) -> None:
        """Wrap a real environment.

        Args:
            env: shows states (S,), as the model's recording did.
            model: name of a shipped model, a model folder, or a loaded model.
            calibration: from :meth:`calibrate`, or the path of a saved one.
            fallback: acts after an alarm; None stops.

        Raises:
            ModelError: the model does not exist, watches no states, or is not the one that was calibrated.
            ConfigError: the environment shows other observations or takes other actions than the model.
        """
        super().__init__(env)
        self._trained = model if isinstance(model, TrainedModel) else load_model(model)
        check_model(self._trained)
        self.calibration = (
            calibration if isinstance(calibration, GateCalibration) else GateCalibration.load(calibration)
        )
        task = self._trained.task
        if self.calibration.model != weights_hash(self._trained):
            raise ModelError(f"the gate was calibrated for another model than {task.name!r}; calibrate it again")
        for name, space, size in (
            ("shows observations", env.observation_space, task.observation_space.size),
            ("takes actions", env.action_space, task.action_space.size),
        ):
            if space.shape != (size,):
                raise ConfigError(f"the environment {name} of shape {space.shape}, the model's have {(size,)}")
        self._fallback = fallback
        self._shown: Array | None = None
        self._drift: Array = np.zeros(task.observation_space.size)
        self._alarm: dict[str, Any] | None = None
        self._steps = 0

    @staticmethod
    def calibrate(model: str | Path | TrainedModel, episodes: Any, false_stop_rate: float = 0.05) -> GateCalibration:
        """Find the score that unbroken episodes rarely reach; see :meth:`GateCalibration.measure`."""
        trained = model if isinstance(model, TrainedModel) else load_model(model)
        return GateCalibration.measure(trained, list(episodes), false_stop_rate)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin an episode of the real environment, with the policy in charge: (S,) and the environment's own info."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._shown, self._alarm, self._steps = None, None, 0
        seen = self._numbers(observation)
        nothing = np.zeros((0, self._trained.task.action_space.size))
        judged = self.calibration.judge(self._trained, seen[None], nothing)
        return self._show(observation, seen, judged), info | self._info(judged, "nobody")

    def step(self, action: Array) -> tuple[Array, Any, bool, bool, dict[str, Any]]:
        """Act in the real environment, if the gate is open.

        Args:
            action: (A,) the policy's; what the model is told of it is clipped to the action space.

        Raises:
            ActionError: the action that would be carried out is not finite or has the wrong shape; nothing has changed.
        """
        if self._shown is None:
            raise ConfigError("call reset() before the first step")
        before, acting = self._shown, "policy"
        if self._alarm is not None:
            if self._fallback is None:
                return before.copy(), 0.0, False, True, {"stopped": True} | self._info(None, "nobody")
            action, acting = self._fallback(before.copy()), "fallback"
        taken = batched_actions(np.asarray(action)[None], self._trained.task, 1, torch.device("cpu")).numpy()
        observation, reward, terminated, truncated, info = self.env.step(action)
        seen = self._numbers(observation)
        self._steps += 1
        judged = self.calibration.judge(self._trained, np.stack([before, seen]), taken, self._drift)
        shown = self._show(observation, seen, judged)
        info = info | self._info(judged, acting)
        if self._alarm is not None and self._fallback is None:
            return shown, reward, terminated, True, info | {"stopped": True}
        return shown, reward, terminated, truncated, info

    def _numbers(self, observation: Any) -> Array:
        """The observation (S,) float32, whatever its values."""
        size = self._trained.task.observation_space.size
        seen = np.asarray(observation)
        if seen.shape != (size,) or seen.dtype.kind not in "fiu":
            raise ObservationError(f"the environment shows {seen.dtype} {seen.shape}, numbers of {(size,)} are needed")
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and an alarm
            return seen.astype(np.float32)

    def _show(self, observation: Any, seen: Array, judged: Judged) -> Array:
        """Raise the alarm if there is cause, and give what the policy is shown."""
        self._drift = judged.drift
        score = float(judged.score[-1])
        if self._alarm is None and score > self.calibration.threshold:
            self._alarm = {
                "score": score,
                "reason": judged.reason(-1),
                "dimension": int(judged.dimension[-1]),
                "step": self._steps,
            }
        known = np.isfinite(seen)
        if not known.all():
            last = self._trained.model.normalizer.mean.cpu().numpy() if self._shown is None else self._shown
            observation = np.where(known, seen, last).astype(np.asarray(observation).dtype)
        self._shown = np.where(known, seen, observation).astype(np.float32)
        return np.array(observation)

    def _info(self, judged: Judged | None, acting: str) -> dict[str, Any]:
        gate: dict[str, Any] = {
            "alarm": self._alarm is not None,
            "acting": acting,
            "threshold": self.calibration.threshold,
        }
        if judged is not None:
            gate["score"] = float(judged.score[-1])
        return {"gate": gate | (self._alarm or {})}
