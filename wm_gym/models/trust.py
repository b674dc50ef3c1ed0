"""How far a model can be trusted: the support of its data, and the error to expect after so many imagined steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from wm_gym.models.conformal import episode_shares, hierarchical_quantile
from wm_gym.models.open_loop import after_context, play_open_loop
from wm_gym.models.world_model import WorldModel
from wm_gym.types import Segment

COVERAGE = 0.9
"""Probability with which the actual error stays below the bound."""
LARGEST_ERROR = 10.0
"""nRMSE that counts for any that is larger, or is no number: the rollout is lost."""
LEAST_SPREAD, LEAST_DISTANCE = 1e-6, 1e-2
"""Less counts as this much: their logarithms must not run away."""
_TRUSTED_ERROR = 0.5  # nRMSE at which half of a dimension's own standard deviation is lost
_NO_BOUND = 6e4  # too few episodes: the bound is then LARGEST_ERROR; float16 holds it


@dataclass(frozen=True)
class Support:
    """Where recorded states and actions lie: a box, and an ellipsoid inside it. Leaving it is flagged, no more."""

    low: Tensor
    """(S+A,) smallest recorded value, with a margin of one per cent of the range."""
    high: Tensor
    """(S+A,) largest recorded value, likewise."""
    mean: Tensor
    """(S+A,)."""
    whitening: Tensor
    """(S+A, S+A): maps a centred pair to unit covariance."""
    radius: Tensor
    """Scalar: the largest whitened distance in the training data."""

    @classmethod
    def measure(cls, states: Tensor, actions: Tensor) -> Support:
        """Fit to recorded pairs of an action (n, A) and the state (n, S) that it led to."""
        pairs = torch.cat([states, actions], -1).double()
        low, high = pairs.amin(0), pairs.amax(0)
        margin = 0.01 * (high - low)
        centred = pairs - pairs.mean(0)
        scale = centred.square().mean(0).sqrt().clamp(min=1e-6)
        # Directions in which the data hardly move would turn rounding into distance: they are left to the box.
        values, vectors = torch.linalg.eigh((centred / scale).T @ (centred / scale) / len(pairs))
        whitening = vectors * torch.where(values > 1e-3, values.clamp(min=1e-3).rsqrt(), torch.zeros(()).double())
        whitening = whitening / scale.unsqueeze(-1)
        radius = (centred @ whitening).square().sum(-1).amax().sqrt()
        return cls(*(t.float() for t in (low - margin, high + margin, pairs.mean(0), whitening, radius)))

    def to(self, device: torch.device | str) -> Support:
        """The same on another device."""
        return Support(*(getattr(self, f.name).to(device) for f in fields(self)))

    def contains(self, state: Tensor, action: Tensor) -> Tensor:
        """Whether a state (B, S) and the action (B, A) that led to it look like the recorded pairs: (B,) bool."""
        pair = torch.cat([state, action], -1)
        in_box = ((pair >= self.low) & (pair <= self.high)).all(-1)
        return in_box & (self._whitened(pair - self.mean) <= self.radius)

    def distance(self, state: Tensor) -> Tensor:
        """How far states (..., S) lie from the middle of the recorded ones, 1 at the farthest recorded pair: (...)."""
        neutral = torch.zeros_like(self.mean[state.shape[-1] :]).expand(*state.shape[:-1], -1)
        offset = torch.cat([state - self.mean[: state.shape[-1]], neutral], -1)
        return self._whitened(offset) / self.radius

    def _whitened(self, offset: Tensor) -> Tensor:
        return (offset @ self.whitening).square().sum(-1).sqrt()


@dataclass(frozen=True)
class Calibration:
    """What error to expect after so many imagined steps, and a bound on it, measured on episodes kept for this.

    The error is the nRMSE against the truth, counted as at most ``LARGEST_ERROR``. What is expected of it after h steps
    is ``scale * spread**b * distance**c``: how far the ensemble disagrees with itself, and how far out in the recorded
    states it stands. Neither exponent is negative: more of either never means less doubt. A model that is wrong
    throughout in the same way (a robot of another mass) agrees with itself: nothing here can know that.
    """

    scale: Tensor
    """(2, H) after 1..H imagined steps: row 0 of sampled rollouts, row 1 of their mean; likewise below."""
    exponents: Tensor
    """(2, H, 2) b and c."""
    quantile: Tensor
    """(2, H) the factor by which the actual error exceeds the expected one with a probability of at most 0.1."""
    horizon: Tensor
    """Scalar integer: imagined steps up to which the error was measured and stays below one half on average."""

    @classmethod
    @torch.no_grad()
    def measure(
        cls,
        model: WorldModel,
        support: Support,
        moments: Iterable[tuple[Segment, Tensor]],
        generator: torch.Generator,
    ) -> Calibration:
        """Roll the recorded actions out in imagination, sampled and as the mean, and compare with what was recorded.

        Every episode that reaches a horizon weighs the same there, however many of its moments do
        (:func:`~wm_gym.models.conformal.hierarchical_quantile`). The three numbers of the expected error come from the
        same episodes as the quantile, which costs the bound about their share of them: a per cent of hundreds.

        Args:
            model: what is calibrated.
            support: of the data that it was fitted to.
            moments: windows, as :func:`~wm_gym.data.moments.cut_moments` yields them with the episode of each.
            generator: draws members and noise.
        """
        batches = [(_roll_out(model, support, segment, generator), origin) for segment, origin in moments]
        steps = max(batch.shape[-1] for batch, _ in batches)
        # (2 modes, 3 quantities, N, H); NaN where nothing was recorded.
        rolled = torch.cat([F.pad(batch, (0, steps - batch.shape[-1]), value=torch.nan) for batch, _ in batches], 2)
        episodes = torch.cat([origin for _, origin in batches])
        found = [[_calibrate(mode[..., step], episodes) for step in range(steps)] for mode in rolled]
        scale, exponents, quantile, average = (
            torch.tensor([[entry[part] for entry in mode] for mode in found]) for part in range(4)
        )
        beyond = (average[0] > _TRUSTED_ERROR).nonzero()
        horizon = torch.tensor(steps) if len(beyond) == 0 else beyond[0, 0]
        return cls(scale, exponents, quantile, horizon)

    @classmethod
    def proportional(cls, factor: float, steps: int) -> Calibration:
        """Of a model that nobody has measured: ``factor`` times the spread is expected, twice that bounds the error."""
        exponents = torch.tensor([1.0, 0.0]).expand(2, steps, 2).clone()
        return cls(torch.full((2, steps), factor), exponents, torch.full((2, steps), 2.0), torch.tensor(steps))

    def expected_error(self, spread: Tensor, distance: Tensor, elapsed: Tensor, deterministic: bool) -> Tensor:
        """Expected nRMSE (B,) against the truth; 0 where nothing was imagined yet.

        Beyond the measured horizons the last one's numbers are used.

        Args:
            spread: (B,) of the :class:`~wm_gym.types.Prediction`.
            distance: (B,) of :meth:`Support.distance`.
            elapsed: (B,) imagined steps.
            deterministic: whether the mean of the members was rolled out.
        """
        row, step = int(deterministic), self._step(elapsed)
        by_spread, by_distance = self.exponents[row, step].unbind(-1)
        grown = spread.clamp(min=LEAST_SPREAD) ** by_spread * distance.clamp(min=LEAST_DISTANCE) ** by_distance
        expected = (self.scale[row, step] * grown).nan_to_num(nan=LARGEST_ERROR).clamp(max=LARGEST_ERROR)
        return torch.where(elapsed > 0, expected, torch.zeros_like(expected))

    def bound(self, expected: Tensor, elapsed: Tensor, deterministic: bool) -> Tensor:
        """(B,) what the actual nRMSE stays below with probability 0.9, given the expected one (B,)."""
        return (self.quantile[int(deterministic), self._step(elapsed)] * expected).clamp(max=LARGEST_ERROR)

    def _step(self, elapsed: Tensor) -> Tensor:
        return (elapsed - 1).clamp(0, self.scale.shape[1] - 1)


def _roll_out(model: WorldModel, support: Support, segment: Segment, generator: torch.Generator) -> Tensor:
    """Error, spread and distance from the recorded states, sampled and of the mean: (2, 3, B, L), on the CPU."""
    truth, mask = after_context(model, segment)
    modes = []
    for source in (generator, None):
        features, spread = play_open_loop(model, segment, source)
        error = model.normalizer.error(features - truth).nan_to_num(nan=LARGEST_ERROR).clamp(max=LARGEST_ERROR)
        modes.append(torch.stack([error, spread, support.distance(features)]))
    return torch.where(mask > 0, torch.stack(modes), torch.nan).cpu()


def _calibrate(rolled: Tensor, episodes: Tensor) -> tuple[float, list[float], float, float]:
    """Scale, exponents, conformal quantile and mean error at one horizon.

    Args:
        rolled: (3, N) error, spread and distance of each moment; NaN where nothing was recorded.
        episodes: (N,) that the moments are cut from.
    """
    there = ~rolled[0].isnan()
    share = episode_shares(episodes[there])
    error, spread, distance = rolled[:, there].double()
    logs = torch.stack([spread.clamp(min=LEAST_SPREAD), distance.clamp(min=LEAST_DISTANCE)], -1).log()
    exponents = _fit_exponents(error.clamp(min=LEAST_SPREAD).log(), logs, share)
    grown = (logs @ exponents).exp()
    average = float((share * error).sum() / share.sum())
    # The mean, not the median, is what is expected: logarithms alone would promise too little.
    scale = max(average / float((share * grown).sum() / share.sum()), LEAST_SPREAD)
    quantile = hierarchical_quantile(error / (scale * grown), episodes[there], COVERAGE)
    return scale, exponents.tolist(), min(quantile, _NO_BOUND), average


def _fit_exponents(target: Tensor, logs: Tensor, share: Tensor) -> Tensor:
    """Weighted least squares of log error (n,) on the logs (n, 2) of spread and distance, neither slope below zero.

    A ridge worth one episode draws them to 1 and 0, error in proportion to spread, where there are only a few episodes.
    """
    prior = torch.tensor([1.0, 0.0], dtype=torch.float64)

    def centre(values: Tensor) -> Tensor:
        return values - (share @ values) / share.sum()

    x, y = centre(logs), centre(target - logs @ prior)
    for kept in ([0, 1], [0]):  # without the distance where it would lower the doubt
        chosen = x[:, kept]
        gram = chosen.T @ (share.unsqueeze(-1) * chosen) + torch.eye(len(kept), dtype=torch.float64)
        slopes = prior.clone()
        slopes[kept] += torch.linalg.solve(gram, chosen.T @ (share * y))
        if slopes[1] >= 0:
            break
    return slopes.clamp(min=0)
