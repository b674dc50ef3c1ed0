"""How a learner does in the physics while it still learns: its mean action, on episodes of their own."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

_FIRST_SEED = 500_000  # far from the seeds of training and of the final trial


def try_learner(learner: BaseAlgorithm, env: Any, seed: int, episodes: int) -> list[float]:
    """Returns of a learner's mean action in a physical environment.

    Args:
        learner: of stable-baselines3, without a ``VecNormalize``.
        env: a Gymnasium environment that nobody trains in.
        seed: of the training; learners of one seed are tried from the same starts.
        episodes: to play.
    """
    return [_play(learner, env, _FIRST_SEED + 1000 * seed + index) for index in range(episodes)]


def _play(learner: BaseAlgorithm, env: Any, seed: int) -> float:
    total, done = 0.0, False
    observation, _ = env.reset(seed=seed)
    while not done:
        action, _ = learner.predict(observation, deterministic=True)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, done = total + float(reward), terminated or truncated
    return round(total, 3)
