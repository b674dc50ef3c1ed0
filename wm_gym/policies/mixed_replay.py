"""A replay buffer of real transitions that also hands out imagined ones, for stable-baselines3's SAC."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from wm_gym.types import Episode


class MixedReplay(ReplayBuffer):
    """SB3's own buffer holds what the robot did; beside it lies a ring of what was imagined.

    A batch takes ``real_share`` of its rows from the first and the others from the second; before anything has been
    imagined all of it is real (Janner et al. 2019, MBPO, appendix C, mix five per cent of real data in).

    Args:
        buffer_size: real transitions kept.
        observation_space: of the robot.
        action_space: of the robot.
        device: of the batches.
        n_envs: must be 1: episodes are cut from the order of the rows.
        imagined_size: imagined transitions kept; the oldest are overwritten.
        real_share: of a batch.
        **others: passed to SB3's buffer.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "cpu",
        n_envs: int = 1,
        imagined_size: int = 200_000,
        real_share: float = 0.05,
        **others: Any,
    ) -> None:
        super().__init__(buffer_size, observation_space, action_space, device, n_envs, **others)
        size, self.real_share = int(self.obs_shape[0]), real_share
        self.imagined = {
            "observations": torch.zeros(imagined_size, size),
            "actions": torch.zeros(imagined_size, self.action_dim),
            "next_observations": torch.zeros(imagined_size, size),
            "dones": torch.zeros(imagined_size, 1),
            "rewards": torch.zeros(imagined_size, 1),
        }
        self.place, self.filled = 0, 0

    def imagine(self, **rows: Tensor) -> None:
        """Keep imagined transitions: ``observations`` (B, S), scaled ``actions`` (B, A), and so on as in a batch."""
        count, capacity = len(rows["rewards"]), len(self.imagined["rewards"])
        index = (self.place + torch.arange(count)) % capacity
        for name, kept in self.imagined.items():
            kept[index] = rows[name].reshape(count, -1).float()
        self.place, self.filled = (self.place + count) % capacity, min(capacity, self.filled + count)

    def forget(self) -> None:
        """Drop what was imagined."""
        self.place, self.filled = 0, 0

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """A batch of both kinds, see the class."""
        real = batch_size if self.filled == 0 else max(1, round(self.real_share * batch_size))
        mine = super().sample(real, env)
        if real == batch_size:
            return mine
        # numpy's global generator, as SB3 draws its own rows: one seed and one checkpoint for both.
        index = torch.from_numpy(np.random.randint(0, self.filled, batch_size - real))  # noqa: NPY002
        theirs = (self.imagined[name][index].to(self.device) for name in ReplayBufferSamples._fields[:5])
        return ReplayBufferSamples(*(torch.cat(pair) for pair in zip(mine[:5], theirs, strict=True)))


def recorded_episodes(replay: ReplayBuffer, scale: Any, control_dt: float) -> list[Episode]:
    """What the robot did, as episodes.

    Args:
        replay: of one environment, not yet overwritten.
        scale: maps SB3's actions in [-1, 1] to the robot's own: ``policy.unscale_action``.
        control_dt: s.
    """
    count = replay.buffer_size if replay.full else replay.pos
    before, after = replay.observations[:count, 0], replay.next_observations[:count, 0]
    actions = np.asarray(scale(replay.actions[:count, 0]), np.float32)
    rewards, done, timeout = (getattr(replay, name)[:count, 0] for name in ("rewards", "dones", "timeouts"))
    # An interrupted training goes on with a new episode: the unfinished one ends where the next row starts elsewhere.
    elsewhere = np.any(after[:-1] != before[1:], axis=-1) if count > 1 else np.zeros(0, bool)
    ends = np.flatnonzero((done > 0) | np.append(elsewhere, True))
    episodes: list[Episode] = []
    first = 0
    for last in ends:
        terminated = bool(done[last] > 0 and timeout[last] == 0)
        episodes.append(
            Episode(
                observations=np.concatenate([before[first : last + 1], after[last : last + 1]]).astype(np.float32),
                actions=actions[first : last + 1],
                rewards=rewards[first : last + 1].astype(np.float32),
                terminated=terminated,
                truncated=not terminated,
                control_dt=control_dt,
                behaviour="agent",
            )
        )
        first = int(last) + 1
    return episodes
