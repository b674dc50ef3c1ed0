"""Sums of rewards that were predicted in open loop, beside those that were recorded: what a return is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wm_gym.evaluation.held_out import HeldOut
from wm_gym.evaluation.prediction import Predicted
from wm_gym.evaluation.report import plain
from wm_gym.evaluation.resampling import Figure, Resampling, weighted_mean
from wm_gym.types import FloatArray


def judge_reward_sums(
    seeds: Sequence[Predicted], held_out: HeldOut, resampling: Resampling, steps: int
) -> dict[str, Any] | None:
    """Plain values for the windows that run for ``steps`` steps; None where fewer than two do.

    Args:
        seeds: predictions of each training seed, with rewards; what is not finite counts as zero reward.
        held_out: N windows.
        resampling: of those windows.
        steps: how many are summed.

    Returns:
        ``windows``; mean and standard deviation of the recorded sums; ``bias``, mean predicted minus mean recorded sum;
        ``relative_bias``, its size in those standard deviations (None where all sums are alike); ``absolute``, the mean
        absolute error of a window's sum; ``correlation``, Pearson's. Each with its interval.
    """
    rows = np.flatnonzero(held_out.running[:, steps - 1]) if steps <= held_out.horizon else np.array([], int)
    if len(rows) < 2:
        return None
    recorded = held_out.future_rewards[rows, :steps].sum(axis=1)
    spread = float(recorded.std())

    def errors(predicted: FloatArray) -> Figure:
        difference = predicted - recorded
        columns = np.stack([difference, np.abs(difference)], axis=1)
        return lambda weights: weighted_mean(weights[:, rows], columns, np.ones(columns.shape, dtype=np.bool_))

    def correlates(predicted: FloatArray) -> Figure:
        return lambda weights: weighted_correlation(predicted, recorded, weights[:, rows])

    sums = [_sums(seed, rows, steps) for seed in seeds]
    found = resampling.over_seeds([errors(predicted) for predicted in sums]).interval()
    bias, absolute = ({"value": found.value[i], "low": found.low[i], "high": found.high[i]} for i in (0, 1))
    moves = spread > 1e-6 * max(1.0, float(np.abs(recorded).max()))
    correlation = resampling.over_seeds([correlates(predicted) for predicted in sums]).interval()
    return {
        "windows": len(rows),
        "recorded_mean": float(recorded.mean()),
        "recorded_deviation": spread,
        "bias": plain(bias),
        "relative_bias": abs(float(bias["value"])) / spread if moves else None,
        "absolute": plain(absolute),
        "correlation": plain(correlation) if moves else None,
    }


def weighted_correlation(first: FloatArray, second: FloatArray, weights: FloatArray) -> FloatArray:
    """Pearson's correlation of ``first`` and ``second`` (N,) for each row of weights (R, N): (R,); NaN if constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = weights / weights.sum(axis=1, keepdims=True)
        x, y = first - share @ first[:, None], second - share @ second[:, None]  # (R, N) around each row's own mean
        both, alone = (share * x * y).sum(axis=1), (share * x * x).sum(axis=1) * (share * y * y).sum(axis=1)
        return np.asarray(both / np.sqrt(alone))


def _sums(seed: Predicted, rows: np.ndarray[Any, Any], steps: int) -> FloatArray:
    assert seed.rewards is not None, "only a predictor of rewards is asked for them"
    finite = np.nan_to_num(seed.rewards[rows, :steps], nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(finite.sum(axis=1, dtype=np.float64))
