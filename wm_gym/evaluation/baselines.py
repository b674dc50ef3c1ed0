"""What a world model must beat, and what nothing can beat.

The naive predictors look only at what was known when the prediction began and at the actions that followed. The floor
is the physics engine itself, started almost where the episode was: an error below it is luck.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from wm_gym.evaluation.held_out import HeldOut
from wm_gym.types import Episode, FloatArray

LAGS = 2
"""Past observations that the autoregression looks at."""
SENSOR_NOISE = 1e-3
"""Standard deviation of the floor's start error, in the units of qpos (m, rad)."""


def persistence(held_out: HeldOut) -> FloatArray:
    """Nothing changes: (N, H, S)."""
    return np.repeat(held_out.known[:, -1:], held_out.horizon, axis=1)


def constant_velocity(held_out: HeldOut) -> FloatArray:
    """Every number goes on as it did between the last two observations: (N, H, S)."""
    velocity = held_out.known[:, -1:] - held_out.known[:, -2:-1]
    return held_out.known[:, -1:] + velocity * np.arange(1, held_out.horizon + 1)[None, :, None]


@dataclass(frozen=True)
class Autoregression:
    """A linear model with exogenous input (ARX): the change is linear in the last observations and the action."""

    weights: FloatArray
    """(LAGS * S + A + 1, S), in raw units."""

    def rollout(self, held_out: HeldOut) -> FloatArray:
        """Feed the predictions back: (N, H, S). Where it diverges, rows overflow to infinity, never raise."""
        before, now = held_out.known[:, -2], held_out.known[:, -1]
        predicted = np.empty_like(held_out.truth)
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(held_out.horizon):
                before, now = now, now + _regressors(now, before, held_out.future_actions[:, step]) @ self.weights
                predicted[:, step] = now
        return predicted


def fit_autoregression(episodes: Sequence[Episode], ridge: float = 1e-3) -> Autoregression:
    """Least squares over the training episodes, with a penalty on standardised weights.

    Args:
        episodes: what the world model was trained on; each contributes its steps from the second on.
        ridge: penalty, relative to the number of rows.
    """
    inputs, changes = [], []
    for episode in episodes:
        seen = np.asarray(episode.observations, dtype=np.float64)
        actions = np.asarray(episode.actions, dtype=np.float64)
        inputs.append(_regressors(seen[1:-1], seen[:-2], actions[1:]))
        changes.append(seen[2:] - seen[1:-1])
    x, y = np.concatenate(inputs), np.concatenate(changes)
    centre, scale = x.mean(0), x.std(0)
    centre[-1], scale[-1] = 0.0, 1.0  # the constant
    scale[scale < 1e-8] = 1.0
    z = (x - centre) / scale
    penalty = ridge * len(z) * np.eye(z.shape[1])
    penalty[-1, -1] = 0.0
    solved = np.linalg.solve(z.T @ z + penalty, z.T @ y)
    weights = solved / scale[:, None]
    weights[-1] = solved[-1] - (centre[:-1] / scale[:-1]) @ solved[:-1]
    return Autoregression(weights)


def _regressors(now: FloatArray, before: FloatArray, action: FloatArray) -> FloatArray:
    return np.concatenate([now, before, action, np.ones((len(now), 1))], axis=1)


def physics_floor(
    env: gym.Env[Any, Any],
    held_out: HeldOut,
    set_state: Callable[[Any, FloatArray, FloatArray], object],
    generator: np.random.Generator,
    noise: float = SENSOR_NOISE,
    track: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> tuple[FloatArray, FloatArray]:
    """MuJoCo against itself: the same actions from a start whose qpos is off by sensor noise.

    Args:
        env: the physics, with a time limit no shorter than the episodes.
        held_out: recorded with qpos and qvel.
        set_state: writes (qpos, qvel) into ``env``.
        generator: draws the noise.
        noise: standard deviation, m or rad.
        track: shows progress through the rows.

    Returns:
        Observations (N, H, S) and rewards (N, H). Steps after a recorded episode's end are not run.
    """
    observations, rewards = held_out.truth.copy(), held_out.future_rewards.copy()
    for row in track(range(len(held_out.episodes))):
        episode = held_out.episodes[row]
        assert episode.qpos is not None and episode.qvel is not None, "the floor needs recorded states"
        env.reset(seed=episode.seed)
        start = episode.qpos[held_out.start]
        set_state(env, start + generator.normal(scale=noise, size=start.shape), episode.qvel[held_out.start])
        for step in range(int(held_out.running[row].sum())):
            observation, reward, *_ = env.step(np.asarray(held_out.future_actions[row, step], dtype=np.float32))
            observations[row, step], rewards[row, step] = observation, reward
    return observations, rewards
