"""Intervals and correlations: percentile bootstrap over whatever was drawn independently, numpy and scipy only.

Every interval is two-sided, and every resampling takes a generator, so that the same seed gives the same report.
What is resampled is always the independent unit: an episode, or a training seed and then its episodes. Steps of one
episode, or episodes of one trained policy, are not independent and are never treated as if they were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata, trim_mean

from wm_gym.types import BoolArray, FloatArray

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A figure and the two-sided interval around it."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class CurveInterval:
    """A figure at each of H horizons, with its interval."""

    value: FloatArray
    """(H,)."""
    low: FloatArray
    """(H,)."""
    high: FloatArray
    """(H,)."""


def resample_counts(size: int, generator: np.random.Generator, resamples: int = RESAMPLES) -> FloatArray:
    """How often each of ``size`` rows is drawn in each bootstrap sample: (resamples, size)."""
    return generator.multinomial(size, np.full(size, 1.0 / size), size=resamples).astype(np.float64)


def mean_interval(
    values: FloatArray, generator: np.random.Generator, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """The mean of independent rows.

    Args:
        values: (N,) finite.
        generator: draws the bootstrap samples.
        level: probability that the interval covers the mean.
        resamples: bootstrap samples.
    """
    rows = _finite_rows(values)
    means = resample_counts(len(rows), generator, resamples) @ rows / len(rows)
    return percentile_interval(float(rows.mean()), means, level)


def paired_difference_interval(
    first: FloatArray,
    second: FloatArray,
    generator: np.random.Generator,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """The mean of ``second - first``, row by row: what the rows share (a start state) cancels."""
    return mean_interval(np.asarray(second) - np.asarray(first), generator, level, resamples)


def clustered_mean_interval(
    groups: Sequence[FloatArray], generator: np.random.Generator, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """The mean of the groups' means, where rows of one group share a cause (episodes of one training seed).

    Two levels are resampled: groups, then rows within each drawn group. With one group only the rows are resampled,
    so the interval then says nothing of another training seed. With a handful of groups it is too narrow rather than
    too wide, as every bootstrap of a handful is.
    """
    return percentile_interval(_mean_of_means(groups), clustered_mean_samples(groups, generator, resamples), level)


def clustered_difference_interval(
    first: Sequence[FloatArray],
    second: Sequence[FloatArray],
    generator: np.random.Generator,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """The second mean of means minus the first, where the two sets of groups were drawn independently."""
    samples = clustered_mean_samples(second, generator, resamples) - clustered_mean_samples(first, generator, resamples)
    return percentile_interval(_mean_of_means(second) - _mean_of_means(first), samples, level)


def crossed_mean_intervals(
    first: Sequence[FloatArray],
    second: Sequence[FloatArray],
    generator: np.random.Generator,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> tuple[Interval, Interval, Interval]:
    """The mean of each set of groups, and the first minus the second, where row n means the same in every group.

    Such rows (start states that all agents were tried from) are drawn once for all groups of both sets, and groups
    within their set. With one group the intervals say nothing of another.

    Args:
        first: groups (N,).
        second: groups of the same N.
        generator: draws the bootstrap samples.
        level: probability that an interval covers its figure.
        resamples: bootstrap samples.
    """
    drawn = resample_counts(len(first[0]), generator, resamples) / len(first[0])
    samples, values = [], []
    for groups in (np.stack(first), np.stack(second)):
        means = drawn @ groups.T  # (resamples, groups)
        chosen = generator.integers(0, len(groups), size=means.shape)
        samples.append(np.take_along_axis(means, chosen, axis=1).mean(1))
        values.append(float(groups.mean()))
    return (
        percentile_interval(values[0], samples[0], level),
        percentile_interval(values[1], samples[1], level),
        percentile_interval(values[0] - values[1], samples[0] - samples[1], level),
    )


def clustered_mean_samples(
    groups: Sequence[FloatArray], generator: np.random.Generator, resamples: int = RESAMPLES
) -> FloatArray:
    """(resamples,): the mean of means in each two-level bootstrap sample."""
    rows = [_finite_rows(group) for group in groups]
    if not rows:
        raise ValueError("a mean of no groups does not exist")
    # Each group's own resampled means are drawn as often as a bootstrap sample could ask for the group: G times.
    means = np.stack([resample_counts(len(r), generator, resamples * len(rows)) @ r / len(r) for r in rows])
    means = means.reshape(len(rows), resamples, len(rows))
    drawn = generator.integers(0, len(rows), size=(resamples, len(rows)))
    sample, slot = np.arange(resamples)[:, None], np.arange(len(rows))[None, :]
    return np.asarray(means[drawn, sample, slot].mean(axis=1))


def _mean_of_means(groups: Sequence[FloatArray]) -> float:
    return float(np.mean([np.mean(_finite_rows(group)) for group in groups]))


def pearson(first: FloatArray, second: FloatArray) -> Any:
    """Linear correlation along the last axis; NaN, never 1, where either side is constant."""
    x, y = _finite(first), _finite(second)
    moved_x, moved_y = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    size_x, size_y = np.linalg.norm(moved_x, axis=-1), np.linalg.norm(moved_y, axis=-1)
    # A constant side leaves rounding dust, not zero, after its mean is taken away.
    flat = (size_x <= 1e-12 * np.linalg.norm(x, axis=-1)) | (size_y <= 1e-12 * np.linalg.norm(y, axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.clip((moved_x * moved_y).sum(-1) / (size_x * size_y), -1.0, 1.0)
    return np.where(flat, np.nan, found)[()]


def spearman(first: FloatArray, second: FloatArray) -> Any:
    """Rank correlation along the last axis, ties sharing their mean rank; NaN where either side is constant."""
    return pearson(rankdata(first, axis=-1), rankdata(second, axis=-1))


def interquartile_mean(values: FloatArray) -> float:
    """Mean of the middle half of the values, a quarter cut off at each end.

    Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice".

    Args:
        values: (N,) finite.
    """
    return float(trim_mean(_finite_rows(values), 0.25))


def interquartile_interval(
    values: FloatArray, generator: np.random.Generator, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """The interquartile mean of independent rows (N,), resampling the rows."""
    rows = _finite_rows(values)
    drawn = rows[generator.integers(0, len(rows), size=(resamples, len(rows)))]
    return percentile_interval(interquartile_mean(rows), trim_mean(drawn, 0.25, axis=1), level)


def correlation_interval(
    first: FloatArray,
    second: FloatArray,
    generator: np.random.Generator,
    statistic: Callable[[FloatArray, FloatArray], Any] = pearson,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """A correlation over pairs, resampling the pairs. All NaN where it does not exist."""
    x, y = _finite_rows(first), _finite_rows(second)
    value = statistic(x, y)
    drawn = generator.integers(0, len(x), size=(resamples, len(x)))
    # A resample may happen to be constant: it has no correlation.
    return percentile_interval(value, statistic(x[drawn], y[drawn]), level)


def root_mean_square_interval(
    squares: FloatArray,
    mask: BoolArray,
    generator: np.random.Generator,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> CurveInterval:
    """Root mean square error at each horizon over the episodes that still run there, resampling whole episodes.

    Args:
        squares: (N, H) squared error of each episode at each horizon; ignored where ``mask`` is false.
        mask: (N, H) true where the episode was still running. A horizon that no episode reaches is NaN.
        generator: draws the bootstrap samples.
        level: probability that each interval covers.
        resamples: bootstrap samples.
    """
    samples = root_mean_square_samples(squares, mask, generator, resamples)
    weight = np.ones((1, len(squares)))
    tail = 50.0 * (1.0 - level)
    low, high = (_percentile_columns(samples, q) for q in (tail, 100.0 - tail))
    return CurveInterval(_root_mean(weight, squares, mask)[0], low, high)


def root_mean_square_samples(
    squares: FloatArray, mask: BoolArray, generator: np.random.Generator, resamples: int = RESAMPLES
) -> FloatArray:
    """(resamples, H): the curve of each bootstrap sample of episodes."""
    return _root_mean(resample_counts(len(squares), generator, resamples), squares, mask)


def _root_mean(weights: FloatArray, squares: FloatArray, mask: BoolArray) -> FloatArray:
    total = weights @ np.where(mask, squares, 0.0)
    count = weights @ mask.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(total / count)


def _percentile_columns(samples: FloatArray, percentile: float) -> FloatArray:
    """Percentile of each column's finite entries; NaN for a column that has none."""
    columns = [column[np.isfinite(column)] for column in samples.T]
    return np.array([np.percentile(c, percentile) if len(c) else np.nan for c in columns])


def percentile_interval(value: float, samples: FloatArray, level: float = LEVEL) -> Interval:
    """The percentile interval of bootstrap samples (R,); those in which the figure does not exist are left out."""
    finite = np.asarray(samples)[np.isfinite(samples)]
    if not np.isfinite(value) or len(finite) == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(finite, [tail, 100.0 - tail])
    return Interval(float(value), float(low), float(high))


def _finite(values: FloatArray) -> FloatArray:
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim == 0 or rows.size == 0 or not np.isfinite(rows).all():
        raise ValueError(f"needs a non-empty list of finite numbers, got shape {rows.shape}")
    return rows


def _finite_rows(values: FloatArray) -> FloatArray:
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 1 or len(rows) == 0 or not np.isfinite(rows).all():
        raise ValueError(f"needs a non-empty list of finite numbers, got shape {rows.shape}")
    return rows
