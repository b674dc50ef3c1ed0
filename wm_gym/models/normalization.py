"""Statistics of the training split, computed in float64 once and carried with the model as buffers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from wm_gym.types import BoxSpec, Episode

_BOUND = 10.0  # a value this many training half-ranges from the middle has left the world
_NEGLIGIBLE = 1e-6  # a dimension that moves less than this share of its own size does not move


class Normalizer(nn.Module):
    """Scales of observations, their one-step changes, actions and rewards."""

    mean: Tensor
    """(S,) of the observation."""
    std: Tensor
    """(S,) of the observation, the sensor's resolution at least; 1 where it never differs."""
    delta_std: Tensor
    """(S,) of one step's change; 1 where it never changes."""
    moving: Tensor
    """(S,) bool: whether the dimension changes within an episode, by more than the sensor's noise."""
    low: Tensor
    """(S,) smallest value seen."""
    high: Tensor
    """(S,) largest value seen."""
    reward_range: Tensor
    """(2,) smallest and largest reward seen."""
    reward_mean: Tensor
    """Scalar."""
    reward_std: Tensor
    """Scalar."""
    action_mean: Tensor
    """(A,) middle of the action space."""
    action_scale: Tensor
    """(A,) half of its width."""
    terminates: Tensor
    """Scalar bool: whether any training episode ended by itself."""

    def __init__(self, size: int, action_space: BoxSpec) -> None:
        super().__init__()
        for name in ("mean", "low", "high"):
            self.register_buffer(name, torch.zeros(size))
        for name in ("std", "delta_std"):
            self.register_buffer(name, torch.ones(size))
        self.register_buffer("moving", torch.ones(size, dtype=torch.bool))
        self.register_buffer("reward_mean", torch.zeros(()))
        self.register_buffer("reward_std", torch.ones(()))
        self.register_buffer("reward_range", torch.zeros(2))
        self.register_buffer("terminates", torch.zeros((), dtype=torch.bool))
        bounds = zip(action_space.low, action_space.high, strict=True)
        middles = [
            (((low + high) / 2, (high - low) / 2) if np.isfinite(high - low) else (0.0, 1.0)) for low, high in bounds
        ]
        self.register_buffer("action_mean", torch.tensor([middle for middle, _ in middles]))
        self.register_buffer("action_scale", torch.tensor([reach for _, reach in middles]))

    def fit(self, episodes: Sequence[Episode], resolution: np.ndarray | float = 0.0) -> None:
        """Measure the training episodes. Every one of them must have at least one step.

        Args:
            episodes: of the training split.
            resolution: (S,) a dimension whose standard deviation is smaller does not move, and is scaled by it.
        """
        observations = np.concatenate([e.observations for e in episodes]).astype(np.float64)
        deltas = np.concatenate([np.diff(e.observations.astype(np.float64), axis=0) for e in episodes])
        rewards = np.concatenate([e.rewards for e in episodes]).astype(np.float64)
        std, delta_std = observations.std(0), np.sqrt((deltas**2).mean(0))
        size = np.abs(observations).max(0) + 1e-12
        moving = (delta_std > _NEGLIGIBLE * size) & (std >= resolution)
        self._set("mean", observations.mean(0))
        self._set("std", np.maximum(np.where(std > _NEGLIGIBLE * size, std, 1.0), resolution))
        self._set("delta_std", np.where(moving, delta_std, 1.0))
        self.moving.copy_(torch.from_numpy(moving))
        self._set("low", observations.min(0))
        self._set("high", observations.max(0))
        self._set("reward_mean", rewards.mean())
        self._set("reward_std", max(float(rewards.std()), 1e-6))
        self._set("reward_range", np.array([rewards.min(), rewards.max()]))
        self.terminates.fill_(any(e.terminated for e in episodes))

    def observation(self, value: Tensor) -> Tensor:
        """Raw (..., S) -> zero mean, unit variance."""
        return (value - self.mean) / self.std

    def action(self, value: Tensor) -> Tensor:
        """Raw (..., A) -> [-1, 1] of the action space."""
        return (value - self.action_mean) / self.action_scale

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """(S,) low and high bounds of the imagined world: ten times the training range."""
        middle, reach = (self.low + self.high) / 2, _BOUND * torch.maximum((self.high - self.low) / 2, self.std)
        return middle - reach, middle + reach

    @property
    def reward_bounds(self) -> tuple[Tensor, Tensor]:
        """Scalars: low and high bounds of an imagined reward, ten times the training range."""
        low, high = self.reward_range
        reach = _BOUND * torch.maximum((high - low) / 2, self.reward_std)
        return (low + high) / 2 - reach, (low + high) / 2 + reach

    def bound(self, value: Tensor) -> Tensor:
        """Keep raw observations (..., S) finite and within the bounds; what was NaN lands on one."""
        low, high = self.bounds
        return torch.minimum(torch.maximum(torch.nan_to_num(value, nan=torch.inf), low), high)

    def bound_reward(self, value: Tensor) -> Tensor:
        """Keep rewards (...) within ten times the training range; what was NaN becomes the lowest."""
        return value.nan_to_num(nan=-torch.inf).clamp(*self.reward_bounds)

    def error(self, difference: Tensor) -> Tensor:
        """Normalised root mean square of a raw difference (..., S) over the dimensions that move: (...)."""
        scaled = (difference / self.std).square() * self.moving
        return (scaled.sum(-1) / self.moving.sum().clamp(min=1)).sqrt()

    def _set(self, name: str, value: np.ndarray | float) -> None:
        getattr(self, name).copy_(torch.as_tensor(value, dtype=torch.float32))
