"""Where a policy learnt from logs begins: as what the best of the logged episodes did.

From random actions an agent in imagination finds what is easy to find, on a hopper standing still. What acted in the
better logs has found more, and imagination then only has to improve on it, near what was logged, where it is true.

Source: behaviour cloning on the best share of the data ("%BC" of Chen et al. 2021, "Decision Transformer", section 5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from stable_baselines3 import PPO
from torch import nn

from wm_gym.errors import DataError
from wm_gym.types import Episode

_BATCH, _RATE = 512, 1e-3


def best_episodes(episodes: Sequence[Episode], limit: int, share: float = 1 / 3) -> list[Episode]:
    """The whole episodes of the highest returns that hold about a share of all steps, the best first.

    Args:
        episodes: of one robot.
        limit: steps after which an episode ends by itself; one that was cut before has no return to compare.
        share: of all steps; the episode that crosses it is among them.

    Raises:
        DataError: no episode is whole.
    """
    whole = [episode for episode in episodes if episode.terminated or len(episode) >= limit]
    if not whole:
        raise DataError(f"nothing to imitate: no episode ended, or lasted {limit} steps")
    wanted, chosen, steps = share * sum(len(episode) for episode in episodes), 0, 0
    ranked = sorted(whole, key=lambda episode: -float(episode.rewards.sum()))
    while chosen < len(ranked) and steps < wanted:
        steps += len(ranked[chosen])
        chosen += 1
    return ranked[:chosen]


def imitate(learner: PPO, episodes: Sequence[Episode], seed: int, updates: int = 6_000) -> float:
    """Fit the mean action of PPO's actor to logged actions; spread and critic stay as they are.

    Args:
        learner: its observations and actions are those of the episodes.
        episodes: what is imitated.
        seed: of the order of the rows.
        updates: gradient steps on 512 rows each, the rate falling to nothing over them.

    Returns:
        The mean squared error over all rows, in squares of half of each action's range.

    Raises:
        DataError: the episodes hold no steps.
    """
    if not sum(len(episode) for episode in episodes):
        raise DataError("nothing to imitate: the episodes hold no steps")
    observations = torch.from_numpy(np.concatenate([episode.observations[:-1] for episode in episodes])).float()
    actions = torch.from_numpy(np.concatenate([episode.actions for episode in episodes])).float()
    space = learner.action_space
    reach = torch.from_numpy(np.minimum((space.high - space.low) / 2, 1e6))  # type: ignore[attr-defined]
    optimizer = torch.optim.Adam(list(actor_parameters(learner)), _RATE)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, updates)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(updates):
        rows = torch.randint(len(actions), (_BATCH,), generator=generator)
        loss = ((_mean(learner, observations[rows]) - actions[rows]) / reach).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        falling.step()
    with torch.no_grad():
        return float(((_mean(learner, observations) - actions) / reach).square().mean())


def actor_parameters(learner: PPO) -> Iterator[nn.Parameter]:
    """What gives the mean action."""
    yield from learner.policy.mlp_extractor.policy_net.parameters()
    yield from learner.policy.action_net.parameters()


def _mean(learner: PPO, observations: torch.Tensor) -> torch.Tensor:
    policy = learner.policy
    features = policy.pi_features_extractor(observations)
    mean: torch.Tensor = policy.action_net(policy.mlp_extractor.forward_actor(features))
    return mean
