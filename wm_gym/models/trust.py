"""How far a model can be trusted: the support of its data, and the error to expect after so many imagined steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wm_gym.models.open_loop import after_context, mean_of_recorded, play_open_loop
from wm_gym.models.world_model import WorldModel
from wm_gym.types import Segment

_TRUSTED_ERROR = 0.5  # nRMSE at which half of a dimension's own standard deviation is lost


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

    def contains(self, state: Tensor, action: Tensor) -> Tensor:
        """Whether a state (B, S) and the action (B, A) that led to it look like the recorded pairs: (B,) bool."""
        pair = torch.cat([state, action], -1)
        in_box = ((pair >= self.low) & (pair <= self.high)).all(-1)
        distance = ((pair - self.mean) @ self.whitening).square().sum(-1).sqrt()
        return in_box & (distance <= self.radius)


@dataclass(frozen=True)
class Calibration:
    """From how far the ensemble has spread to the error against the truth, measured on episodes kept for this."""

    scale: Tensor
    """(2, H) expected nRMSE per unit of spread after 1..H imagined steps: row 0 sampled rollouts, row 1 their mean."""
    horizon: Tensor
    """Scalar integer: imagined steps up to which the expected nRMSE was measured and stays below one half."""

    @classmethod
    @torch.no_grad()
    def measure(cls, model: WorldModel, segment: Segment, generator: torch.Generator) -> Calibration:
        """Roll the recorded actions out in imagination, sampled and as the mean, and compare with what was recorded."""
        expected, scales = [], []
        truth, mask = after_context(model, segment)
        for source in (generator, None):
            features, spreads = play_open_loop(model, segment, source)
            error = model.normalizer.error(features - truth).clamp(max=10.0)
            expected.append(mean_of_recorded(error, mask))
            scales.append(expected[-1] / mean_of_recorded(spreads, mask).clamp(min=1e-9))
        beyond = (expected[0] > _TRUSTED_ERROR).nonzero()
        horizon = torch.tensor(mask.shape[1]) if len(beyond) == 0 else beyond[0, 0].cpu()
        return cls(torch.stack(scales).cpu(), horizon)

    def expected_error(self, spread: Tensor, elapsed: Tensor, deterministic: bool) -> Tensor:
        """Expected nRMSE (B,) against the truth; beyond the measured horizons the last factor is used."""
        row = self.scale[int(deterministic)]
        return row[(elapsed - 1).clamp(0, len(row) - 1)] * spread
