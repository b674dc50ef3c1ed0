"""Whether the imagination lets episodes end when the physics does: survival, Brier score, discrimination.

The predicted probabilities are those along the open-loop rollout, and only steps that were recorded are judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wm_gym.evaluation import survival
from wm_gym.evaluation.held_out import HeldOut
from wm_gym.evaluation.prediction import Predicted
from wm_gym.evaluation.report import plain
from wm_gym.evaluation.resampling import Figure, Resampling
from wm_gym.types import BoolArray, FloatArray


def judge_termination(seeds: Sequence[Predicted], held_out: HeldOut, resampling: Resampling) -> dict[str, Any]:
    """Plain values, all intervals over training seeds and episodes.

    Args:
        seeds: predictions of each training seed, with continuation.
        held_out: N windows.
        resampling: of those windows.

    Returns:
        ``events``, the windows that end by themselves; ``recorded`` and ``predicted`` probability of lasting beyond
        steps 0 ... H; ``brier``, the mean squared error of the probability that a step ends the episode, beside
        ``brier_reference``, that of always saying the recorded share; ``auroc``, the probability that a step that
        ended an episode was called more dangerous than one that did not (None without events).
    """
    durations, ended = endings(held_out)
    happened = np.zeros(held_out.running.shape)
    happened[ended, durations[ended] - 1] = 1.0
    share = happened.sum() / held_out.running.sum()
    predicted = [_continuation(seed) for seed in seeds]

    def survives(continuation: FloatArray) -> Figure:
        return lambda weights: survival.expected_survival(continuation, held_out.running, weights)

    def brier(continuation: FloatArray) -> Figure:
        squares = np.square(1.0 - continuation - happened)
        return lambda weights: _mean_over_steps(weights, squares, held_out.running)

    def auroc(continuation: FloatArray) -> Figure:
        danger = np.where(held_out.running, 1.0 - continuation, np.nan)
        return lambda weights: discrimination(danger, happened > 0, weights)

    recorded = resampling.over_seeds(
        [lambda weights: survival.kaplan_meier(durations, ended, held_out.horizon, weights)]
    )
    return {
        "events": int(ended.sum()),
        "recorded": plain(recorded.interval()),
        "predicted": plain(resampling.over_seeds([survives(p) for p in predicted]).interval()),
        "brier": plain(resampling.over_seeds([brier(p) for p in predicted]).interval()),
        "brier_reference": float(share * (1.0 - share)),
        "auroc": plain(resampling.over_seeds([auroc(p) for p in predicted]).interval()) if ended.any() else None,
    }


def endings(held_out: HeldOut) -> tuple[survival.IntArray, BoolArray]:
    """(N,) predicted steps that were recorded, and whether the episode ended by itself at the last of them."""
    durations = held_out.running.sum(axis=1)
    lengths = np.array([len(episode) for episode in held_out.episodes])
    terminated = np.array([episode.terminated for episode in held_out.episodes])
    return durations, terminated & (lengths == held_out.start + durations)


def discrimination(scores: FloatArray, positive: BoolArray, weights: FloatArray) -> FloatArray:
    """Area under the receiver operating characteristic for each row of weights (R, N): (R,).

    The probability that a positive entry scores above a negative one, ties counting half (Hanley & McNeil 1982).

    Args:
        scores: (N, H), NaN where there is no entry.
        positive: (N, H).
        weights: (R, N) how often each row counts.
    """
    known = np.isfinite(scores)
    marked = scores[positive & known]
    owner = np.nonzero(positive & known)[0]
    others = [np.sort(row[keep]) for row, keep in zip(scores, known & ~positive, strict=True)]
    # wins[a, b]: entries of row b that positive entry a scores above.
    wins = np.stack(
        [(np.searchsorted(row, marked, "left") + np.searchsorted(row, marked, "right")) / 2.0 for row in others], axis=1
    )
    sizes = np.array([len(row) for row in others], dtype=np.float64)
    marks = weights[:, owner]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(((marks @ wins) * weights).sum(axis=1) / (marks.sum(axis=1) * (weights @ sizes)))


def _mean_over_steps(weights: FloatArray, values: FloatArray, mask: BoolArray) -> FloatArray:
    """(R,) mean over all recorded steps, each counting once."""
    count = mask.sum(axis=1).astype(np.float64)
    return np.asarray(weights @ np.where(mask, values, 0.0).sum(axis=1) / (weights @ count))


def _continuation(seed: Predicted) -> FloatArray:
    assert seed.continuation is not None, "a world model says whether the episode goes on"
    return seed.continuation
