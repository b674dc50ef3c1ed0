"""Bootstrap of figures that rest on two things drawn independently: training seeds, and held-out episodes.

Every training seed predicts the *same* episodes, so the two are crossed and not nested: a bootstrap sample draws
episodes once, for all seeds and for all predictors, and seeds beside them (Owen 2007, "The pigeonhole bootstrap").
Windows cut from one episode are drawn together. Because the episodes of a sample are shared, figures of two
predictors are paired, and their ratio has the narrow interval that it deserves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wm_gym.evaluation import statistics
from wm_gym.evaluation.statistics import CurveInterval
from wm_gym.types import BoolArray, FloatArray

Figure = Callable[[FloatArray], FloatArray]
"""Computes a figure from how often each window counts: weights (R, N) -> (R, ...)."""


@dataclass(frozen=True)
class Resampled:
    """A figure and what it is in each bootstrap sample; NaN where it does not exist."""

    value: FloatArray
    """(...)."""
    samples: FloatArray
    """(R, ...)."""

    def __truediv__(self, other: Resampled) -> Resampled:
        """The ratio, sample by sample."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return Resampled(self.value / other.value, self.samples / other.samples)

    def interval(self, level: float = statistics.LEVEL) -> CurveInterval:
        """The two-sided percentile interval of every entry, over the samples in which it exists."""
        tail = 50.0 * (1.0 - level)
        columns = self.samples.reshape(len(self.samples), -1).T
        finite = [column[np.isfinite(column)] for column in columns]
        ends = [np.percentile(c, [tail, 100.0 - tail]) if len(c) else np.full(2, np.nan) for c in finite]
        low, high = np.stack(ends, axis=-1).reshape(2, *self.value.shape)
        return CurveInterval(self.value, low, high)


class Resampling:
    """The bootstrap samples of one set of held-out windows."""

    def __init__(
        self, origins: Sequence[int], generator: np.random.Generator, resamples: int = statistics.RESAMPLES
    ) -> None:
        """Draw the episodes.

        Args:
            origins: (N,) the episode of each window.
            generator: draws episodes, and training seeds later on.
            resamples: R, bootstrap samples.
        """
        _, group = np.unique(np.asarray(origins), return_inverse=True)
        self.weights = statistics.resample_counts(int(group.max()) + 1, generator, resamples)[:, group]
        """(R, N) how often each window counts."""
        self._generator = generator

    def over_seeds(self, figures: Sequence[Figure]) -> Resampled:
        """The mean of a figure over K training seeds, one function for each seed."""
        once = np.ones((1, self.weights.shape[1]))
        values = np.stack([figure(once)[0] for figure in figures])
        samples = np.stack([figure(self.weights) for figure in figures])  # (K, R, ...)
        drawn = statistics.resample_counts(len(figures), self._generator, len(self.weights)) / len(figures)
        return Resampled(values.mean(axis=0), np.einsum("rk,kr...->r...", drawn, samples))


def weighted_mean(weights: FloatArray, values: FloatArray, mask: BoolArray) -> FloatArray:
    """Mean of ``values`` (N, ...) where ``mask`` (N, ...) is true, for each row of weights (R, N): (R, ...).

    NaN where nothing is left.
    """
    total = np.tensordot(weights, np.where(mask, values, 0.0), axes=1)
    count = np.tensordot(weights, np.broadcast_to(mask, values.shape).astype(np.float64), axes=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / count)
