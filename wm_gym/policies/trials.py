"""How a policy does while a robot is still learnt: its mean action, on episodes of their own, in either world."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from wm_gym.envs.fused_imagination import imagination_of, without_reports
from wm_gym.envs.imagination_config import ImaginationConfig
from wm_gym.models import TrainedModel

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


def imagine_returns(trained: TrainedModel, policy: Any, episodes: int) -> Tensor:
    """Returns (episodes,) of whole imagined episodes from recorded first observations.

    Args:
        trained: the world model.
        policy: whose mean action is taken; a learner of stable-baselines3 or a :class:`~wm_gym.policies.Policy`.
        episodes: side by side, a member of the ensemble each.
    """
    imagination = imagination_of(trained, ImaginationConfig(**without_reports(trained, {})))
    state = imagination.begin(_FIRST_SEED + torch.arange(episodes))
    total, alive = torch.zeros(episodes), torch.ones(episodes, dtype=torch.bool)
    for _ in range(trained.task.max_episode_steps):
        action, _ = policy.predict(state.observation.numpy(), deterministic=True)
        state, shown = imagination.step(state, torch.from_numpy(np.asarray(action, np.float32)))
        total = total + torch.where(alive, shown.reward, torch.zeros(episodes))
        alive = alive & ~(shown.terminated | shown.truncated)
        if not alive.any():
            break
    return total
