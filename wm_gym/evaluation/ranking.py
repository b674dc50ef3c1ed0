"""Whether the imagination ranks policies as the physics does: correlations, MMRV, regret, bias, and their intervals.

Every figure compares k policies by their mean return in the imagination and in the physics. Figures are taken along the
last axis, so that thousands of bootstrap samples are computed at once. None of them sees the level of the imagined
returns, but for the bias and the absolute error: these are always given beside the others.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wm_gym.evaluation.statistics import RESAMPLES, Interval, pearson, percentile_interval, spearman
from wm_gym.types import BoolArray, FloatArray

SPLITS = 200
"""Random halves by which the floor is measured."""
PERMUTATIONS = 9999


def kendall(first: FloatArray, second: FloatArray) -> FloatArray:
    """Kendall's tau-b along the last axis (Kendall 1945); NaN where either side is constant."""
    x, y = _signs(first), _signs(second)
    pairs = np.sqrt((x != 0).sum((-1, -2)) * (y != 0).sum((-1, -2)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((x * y).sum((-1, -2)) / pairs)[()]


def mmrv(*, physical: FloatArray, imagined: FloatArray) -> FloatArray:
    """Mean maximum rank violation (Li et al. 2024, "SIMPLER"): how much physical return a wrong order can cost.

    The mean over policies of the largest physical difference to a policy that the imagination orders the other way. A
    tie in the imagination where the physics differs is a violation for both. In units of the return; 0 is perfect; NaN
    where either side is constant. The arguments are not interchangeable.

    Args:
        physical: (..., k) mean returns.
        imagined: (..., k).
    """
    real, dream = np.asarray(physical, dtype=np.float64), np.asarray(imagined, dtype=np.float64)
    apart = np.abs(real[..., :, None] - real[..., None, :])
    worst = np.where(_signs(real) != _signs(dream), apart, 0.0).max(-1)
    return np.asarray(np.where(_constant(real) | _constant(dream), np.nan, worst.mean(-1)))[()]


def regret(*, physical: FloatArray, imagined: FloatArray, top: int = 1) -> FloatArray:
    """Physical return that is lost by choosing, in the physics, among the ``top`` policies of the imagination.

    Between policies that the imagination holds for equal the worse one is chosen. NaN where the physics is constant.

    Args:
        physical: (..., k) mean returns.
        imagined: (..., k).
        top: policies that are tried in the physics.
    """
    real, dream = np.asarray(physical, dtype=np.float64), np.asarray(imagined, dtype=np.float64)
    order = np.lexsort((real, -dream), axis=-1)
    chosen = np.take_along_axis(real, order[..., :top], -1).max(-1)
    return np.asarray(np.where(_constant(real), np.nan, real.max(-1) - chosen))[()]


def panel_figures(physical: FloatArray, imagined: FloatArray, unit: float) -> dict[str, FloatArray]:
    """Every figure of k policies along the last axis.

    Args:
        physical: (..., k) mean returns.
        imagined: (..., k).
        unit: regret and MMRV are given in it: the range of the physical returns over the panel.
    """
    gap = np.asarray(imagined) - np.asarray(physical)
    return {
        "pearson": pearson(physical, imagined),
        "spearman": spearman(physical, imagined),
        "kendall": kendall(physical, imagined),
        "mmrv": mmrv(physical=physical, imagined=imagined) / unit,
        "regret": regret(physical=physical, imagined=imagined) / unit,
        "regret_at_3": regret(physical=physical, imagined=imagined, top=3) / unit,
        "bias": gap.mean(-1),
        "absolute_error": np.abs(gap).mean(-1),
    }


def rank_panel(
    physical: FloatArray, imagined: FloatArray, generator: np.random.Generator, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """The figures with two-level bootstrap intervals: policies are drawn, then the episodes of each drawn policy.

    Args:
        physical: (k, E) returns of E episodes of each policy.
        imagined: (k, E) from the same starts, so that an episode is drawn in both worlds at once.
        generator: draws the bootstrap samples.
        resamples: bootstrap samples.
    """
    policies, episodes = physical.shape
    unit = return_range(physical)
    drawn = generator.integers(0, policies, size=(resamples, policies))
    weights = generator.multinomial(episodes, np.full(episodes, 1.0 / episodes), size=drawn.shape) / episodes
    real, dream = ((weights * returns[drawn]).sum(-1) for returns in (physical, imagined))
    samples = panel_figures(real, dream, unit)
    values = panel_figures(physical.mean(-1), imagined.mean(-1), unit)
    return {name: percentile_interval(float(values[name]), samples[name]) for name in values}


def self_repeat(physical: FloatArray, generator: np.random.Generator, splits: int = SPLITS) -> dict[str, Interval]:
    """The floor: how the physics ranks the panel against itself, one random half of the episodes against the other.

    The value is the mean over the splits, the interval their percentiles. Nothing can be expected to do better with so
    many episodes.
    """
    policies, episodes = physical.shape
    order = np.argsort(generator.random((splits, policies, episodes)), axis=-1)
    shuffled = np.take_along_axis(np.broadcast_to(physical, order.shape), order, -1)
    half = episodes // 2
    found = panel_figures(shuffled[..., :half].mean(-1), shuffled[..., half:].mean(-1), return_range(physical))
    return {name: _spread(np.asarray(values)) for name, values in found.items()}


def permutation_p(
    physical: FloatArray, imagined: FloatArray, generator: np.random.Generator, permutations: int = PERMUTATIONS
) -> float:
    """Probability that chance alone ranks k policies (k,) as well as this, by Spearman's correlation; one-sided.

    The observed order counts among the permutations (Phipson & Smyth 2010). NaN where a side is constant.
    """
    observed = float(spearman(physical, imagined))
    if not np.isfinite(observed):
        return float("nan")
    shuffled = generator.permuted(np.tile(imagined, (permutations, 1)), axis=1)
    chance = spearman(np.broadcast_to(physical, shuffled.shape), shuffled)
    return float((1 + (chance >= observed - 1e-12).sum()) / (1 + permutations))


def return_range(physical: FloatArray) -> float:
    """Largest minus smallest mean return of the panel (k, E); NaN where all earn the same."""
    means = np.asarray(physical, dtype=np.float64).mean(-1)
    span = float(means.max() - means.min())
    return span if span > 1e-12 * max(1.0, float(np.abs(means).max())) else float("nan")


def plain_figures(figures: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    """Plain values for JSON."""
    return {name: interval.to_dict() for name, interval in figures.items()}


def _spread(values: FloatArray) -> Interval:
    finite = values[np.isfinite(values)]
    return percentile_interval(float(finite.mean()) if len(finite) else float("nan"), values)


def _signs(values: FloatArray) -> FloatArray:
    """(..., k, k) sign of each difference."""
    rows = np.asarray(values, dtype=np.float64)
    return np.asarray(np.sign(rows[..., :, None] - rows[..., None, :]))


def _constant(values: FloatArray) -> BoolArray:
    return np.asarray(values.max(-1) == values.min(-1))
