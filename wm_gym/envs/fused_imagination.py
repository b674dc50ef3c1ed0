"""The rules of an :class:`~wm_gym.envs.imagination.Imagination` in few operations, for state models on the CPU.

What it computes equals the plain step but for rounding, and draws the same random numbers; the plain one is the
reference, to be read first. Nothing here loops over rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wm_gym.envs.imagination import Imagination, RolloutState, Transition, as_said
from wm_gym.envs.imagination_config import ImaginationConfig
from wm_gym.envs.noise import RowNoise, Stream
from wm_gym.errors import ObservationError
from wm_gym.models import TrainedModel
from wm_gym.models.fused_ensemble import FusedEnsemble, FusedShown
from wm_gym.models.members import MEAN
from wm_gym.models.state_ensemble import StateEnsemble
from wm_gym.models.trust import LARGEST_ERROR, LEAST_DISTANCE, LEAST_SPREAD
from wm_gym.types import LatentState, Prediction

Array = np.ndarray[Any, np.dtype[Any]]
_LEAST_SPREAD, _LEAST_DISTANCE = np.float32(LEAST_SPREAD), np.float32(LEAST_DISTANCE)
_LARGEST_ERROR = np.float32(LARGEST_ERROR)


def imagination_of(trained: TrainedModel, config: ImaginationConfig) -> Imagination:
    """The fastest imagination that there is for a model where it lies."""
    return (FusedImagination if can_be_fused(trained) else Imagination)(trained, config)


def without_reports(trained: TrainedModel, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same keywords of ``WorldModel-v0`` for who never looks at ``info``: what is only reported is omitted."""
    reports = settings.get("uncertainty", "report") == "report" and not settings.get("deterministic", False)
    return {**settings, "uncertainty": "omit"} if reports and can_be_fused(trained) else dict(settings)


def can_be_fused(trained: TrainedModel) -> bool:
    """Whether it is a state ensemble on the CPU that needs no context and no gradient."""
    model = trained.model
    if type(model) is not StateEnsemble or model.linear.device.type != "cpu":
        return False
    fixed = not any(parameter.requires_grad for parameter in model.parameters())
    return fixed and trained.starts.initial.shape[1] == trained.starts.any.shape[1] == 1


class FusedImagination(Imagination):
    """Rollouts of a state ensemble. A state that was returned is written again by the next step but one."""

    model: StateEnsemble

    def __init__(self, trained: TrainedModel, config: ImaginationConfig | None = None) -> None:
        super().__init__(trained, config)
        sampled = not self.config.deterministic
        self._carried = 1 if self.config.uncertainty == "omit" else self.model.shape.members
        self._samples = sampled and bool(self.model.temperature > 0)
        self._ends = bool(self.model.normalizer.terminates)
        self._step_noise = RowNoise({Stream.DYNAMICS: self.model.noise_size, Stream.TERMINATION: 1})
        self._start_noise = RowNoise({Stream.START: 1, Stream.MEMBER: 1})
        first = self._starts[:, 0]
        # With noise, any will do: at a start all members stand at the same place, and so does the one that is shown.
        believed = self.model.observe(None, None, first, torch.full((len(first), 1), 0.5) if sampled else None)
        self._first_shown = self._show(believed, self.model.predict(believed))
        low, high = self._shown
        self._shown_is_bounded = bool(torch.isfinite(low).any() | torch.isfinite(high).any())
        self._trust = FusedTrust.of(trained, self.config.deterministic)
        self._ensemble: FusedEnsemble | None = None

    @torch.no_grad()
    def begin(self, seeds: Tensor, episodes: Tensor | None = None, steps: Tensor | None = None) -> RolloutState:
        """As :meth:`Imagination.begin`."""
        episodes = torch.zeros_like(seeds) if episodes is None else episodes
        drawn = self._start_noise.draw(seeds.numpy(), episodes.numpy())
        index = torch.from_numpy((drawn[:, 0].astype(np.float64) * len(self._starts)).astype(np.int64))
        members, rows = self.model.shape.members, len(seeds)
        member = torch.full((rows,), MEAN)
        if not self.config.deterministic:
            member = torch.from_numpy((drawn[:, 1] * np.float32(members)).astype(np.int64)).clamp_(max=members - 1)
        latent = {
            "trajectories": self._starts[index].expand(-1, self._carried, -1).contiguous(),
            "member": member,
            "reward": torch.zeros(rows),
            "continuation": torch.ones(rows),
            "spread": torch.zeros(rows),
        }
        return RolloutState(
            latent=LatentState(latent),
            observation=self._first_shown[index],
            seeds=seeds,
            steps=torch.zeros_like(seeds) if steps is None else steps,
            episodes=episodes,
            elapsed=torch.zeros_like(seeds),
        )

    @torch.no_grad()
    def step(self, state: RolloutState, action: Tensor) -> tuple[RolloutState, Transition]:
        """As :meth:`Imagination.step`, but that the state returned is written again by the next step but one."""
        config, rows, member = self.config, len(state.seeds), state.latent["member"]
        if state.latent["trajectories"].shape[1] != self._carried:
            raise ObservationError("a state of an imagination with other rules: give it to adopt() first")
        if not config.deterministic and bool((member < 0).any()):
            return super().step(state, action)  # rows that show the mean, from a state of a deterministic imagination
        if self._ensemble is None or self._ensemble.rows != rows:
            self._ensemble = self._fuse(rows)
        noise = None
        if self._samples or (self._ends and not config.deterministic):
            noise = torch.from_numpy(self._step_noise.draw(state.seeds.numpy(), state.steps.numpy()))
        said = self._ensemble.advance(
            state.latent["trajectories"],
            member,
            action,
            noise[:, :-1] if noise is not None and self._samples else None,
        )
        invalid = ((said.state <= self._low) | (said.state >= self._high)).any(-1)
        shown = torch.clamp(said.state, *self._shown) if self._shown_is_bounded else said.state
        observation = torch.where(invalid.unsqueeze(-1), state.observation, shown)
        elapsed = state.elapsed + 1
        spread = None if config.uncertainty == "omit" else said.spread
        uncertainty, bound, supported = self._trust.judge(said.state, action, spread, elapsed)
        trusted = supported.logical_and_(elapsed <= self.trained.calibration.horizon).logical_and_(~invalid)
        prediction = Prediction(said.reward, said.continuation, said.spread, said.state)
        reward = self._reward(state.observation, action, observation, prediction)
        reward = torch.where(invalid, torch.minimum(reward, self.model.normalizer.reward_range[0]), reward)
        if config.uncertainty == "penalize":
            assert uncertainty is not None
            reward = reward - config.penalty * uncertainty
        if config.termination_fn is not None or config.deterministic:
            terminated = self._terminated(state.observation, action, observation, prediction, state)
        elif self._ends and noise is not None:
            terminated = noise[:, -1] > said.continuation
        else:
            terminated = torch.zeros_like(invalid)
        terminated = terminated & ~invalid
        truncated = (elapsed >= self.horizon) | invalid
        if config.uncertainty == "truncate":
            truncated |= ~trusted
        latent = {
            "trajectories": said.trajectories,
            "member": member,
            "reward": said.reward,
            "continuation": said.continuation,
            "spread": said.spread,
        }
        following = RolloutState(
            LatentState(latent), observation, state.seeds, state.steps + 1, state.episodes, elapsed
        )
        return following, Transition(observation, reward, terminated, truncated, uncertainty, bound, trusted, invalid)

    @torch.no_grad()
    def judge_start(self, state: RolloutState) -> dict[str, Tensor]:
        """As :meth:`Imagination.judge_start`."""
        prediction = self.model.predict(state.latent)
        features = self.model.features(state.latent, prediction)
        spread = None if self.config.uncertainty == "omit" else prediction.spread
        uncertainty, bound, trusted = self._trust.judge(features, None, spread, state.elapsed)
        trusted.logical_and_(state.elapsed <= self.trained.calibration.horizon)
        return as_said(uncertainty, bound, trusted)

    def _fuse(self, rows: int) -> FusedEnsemble:
        if self.config.uncertainty == "omit":
            return FusedShown(self.model, rows)
        return FusedEnsemble(self.model, rows, sampled=not self.config.deterministic)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_ensemble": None}  # buffers are made where they are needed, and views of them too


@dataclass(frozen=True)
class FusedTrust:
    """Expected error, its bound and support of B states, with the numbers of one mode and their scales folded."""

    low: Tensor
    """(S+A,) of the support, likewise below."""
    high: Tensor
    mean: Tensor
    whitening: Tensor
    """(S+A, S+A) in units of the radius."""
    table: Array
    """(H+1, 4) scale, exponents of spread and distance, and quantile after 0..H steps; at 0 the scale is zero."""

    @classmethod
    def of(cls, trained: TrainedModel, deterministic: bool) -> FusedTrust:
        """Of a trained model, of the mean or of sampled rollouts."""
        support, calibration, row = trained.support, trained.calibration, int(deterministic)
        columns = (calibration.scale[row], *calibration.exponents[row].unbind(-1), calibration.quantile[row])
        table = np.zeros((len(columns[0]) + 1, 4), np.float32)
        table[1:] = torch.stack(columns, -1).numpy()
        return cls(support.low, support.high, support.mean, support.whitening / support.radius, table)

    def judge(
        self, state: Tensor, action: Tensor | None, spread: Tensor | None, elapsed: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """Expected error (B,), what it stays below (B,), and whether the support holds state and action (B,) bool.

        Args:
            state: (B, S).
            action: (B, A) that led there; None where none is asked about.
            spread: (B,); None where no error is asked about.
            elapsed: (B,) imagined steps.
        """
        size = state.shape[-1]
        if action is None:
            action = self.mean[size:].expand(len(state), -1)
        pair = torch.cat([state, action], -1)
        inside = torch.clamp(pair, self.low, self.high).eq_(pair).all(-1)
        pair.sub_(self.mean)
        offset = pair[:, :size] @ self.whitening[:size]
        distance = None if spread is None else torch.linalg.vector_norm(offset, dim=-1)
        offset.addmm_(pair[:, size:], self.whitening[size:])
        inside &= torch.linalg.vector_norm(offset, dim=-1) <= 1
        if spread is None or distance is None:
            return None, None, inside
        expected, bound = self._doubt(spread.numpy(), distance.numpy(), elapsed.numpy())
        return torch.from_numpy(expected), torch.from_numpy(bound), inside

    def _doubt(self, spread: Array, distance: Array, elapsed: Array) -> tuple[Array, Array]:
        scale, by_spread, by_distance, quantile = self.table[np.minimum(elapsed, len(self.table) - 1)].T
        with np.errstate(over="ignore", invalid="ignore"):
            expected = (
                np.maximum(spread, _LEAST_SPREAD) ** by_spread * np.maximum(distance, _LEAST_DISTANCE) ** by_distance
            )
            expected *= scale
        np.fmin(expected, _LARGEST_ERROR, out=expected)  # also where it is no number
        return expected, np.fmin(expected * quantile, _LARGEST_ERROR)
