"""Whether a model's doubts are worth their name: coverage of its bound, and whether larger doubts meet larger errors.

Two doubts are judged. ``expected`` is ``info["uncertainty"]``: what the model's own rollout says. It cannot know that
the robot has changed. ``surprised`` multiplies it by how far the observed steps before the rollout were off beside what
was expected of them, where that is more than one: what somebody who watches the robot can know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wm_gym.data.moments import cut_moments
from wm_gym.evaluation.report import plain
from wm_gym.evaluation.resampling import Resampled, Resampling
from wm_gym.evaluation.statistics import resample_counts
from wm_gym.evaluation.termination import discrimination
from wm_gym.models import TrainedModel
from wm_gym.models.open_loop import play_open_loop
from wm_gym.models.trust import LARGEST_ERROR
from wm_gym.types import BoolArray, Episode, FloatArray, Segment

WATCHED = 10
"""Observed steps before each rollout, from which the surprise is measured."""
WRONG = 0.3
"""nRMSE above which a prediction is called wrong: what the valid prediction time counts by, fixed before any result."""
HORIZONS = (10, 50, 100)
"""Imagined steps at which doubts are held against errors."""
COVERED = (1, 10, 50, 100)
"""Imagined steps at which coverage is shown."""
ENOUGH = 10
"""Wrong predictions, and right ones, without which an area under the curve is not given."""
_BINS = 10


@dataclass(frozen=True)
class Doubts:
    """What a model said of N rollouts over H steps, and how wrong it was; NaN where nothing was recorded."""

    error: FloatArray
    """(N, H) actual nRMSE."""
    expected: FloatArray
    """(N, H) ``info["uncertainty"]``."""
    bound: FloatArray
    """(N, H) ``info["uncertainty_bound"]``."""
    surprise: FloatArray
    """(N,) factor of at least 1."""
    episodes: FloatArray
    """(N,) int: the episode of each."""

    @property
    def surprised(self) -> FloatArray:
        """(N, H) the expected error, times the surprise."""
        return self.expected * self.surprise[:, None]

    def beside(self, other: Doubts) -> Doubts:
        """These and others, of other episodes."""
        return self.joined(replace(other, episodes=other.episodes + int(self.episodes.max()) + 1))

    def joined(self, other: Doubts) -> Doubts:
        """These and others, of episodes that are numbered alike."""
        return Doubts(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


@torch.no_grad()
def imagine_doubts(
    trained: TrainedModel,
    episodes: Sequence[Episode],
    stride: int,
    horizon: int,
    deterministic: bool,
    seed: int,
    watched: int = WATCHED,
) -> Doubts:
    """Watch some steps from every ``stride``-th moment of each episode, then imagine up to ``horizon`` more.

    Args:
        trained: a state model.
        episodes: that it has not seen.
        stride: steps between two moments.
        horizon: H.
        deterministic: roll out the mean of the members, or one of them with sampled noise.
        seed: of the sampling.
        watched: observed steps before each rollout; with 0 the moments are the calibration's, and every surprise is 1.

    Raises:
        DataError: no episode is longer than what is watched.
    """
    generator = None if deterministic else torch.Generator().manual_seed(seed)
    found = None
    for segment, numbers in cut_moments(episodes, stride, watched):
        part = _imagine(trained, segment, watched, horizon, generator, numbers.numpy())
        found = part if found is None else found.joined(part)
    assert found is not None, "cut_moments yields at least one batch"
    return found


def _imagine(
    trained: TrainedModel,
    segment: Segment,
    watched: int,
    horizon: int,
    generator: torch.Generator | None,
    episodes: FloatArray,
) -> Doubts:
    """What is said of one batch of windows."""
    model, calibration, deterministic = trained.model, trained.calibration, generator is None
    steps = slice(watched, watched + horizon)
    future = Segment(
        observations=segment.observations[:, watched : watched + horizon + 1],
        actions=segment.actions[:, steps],
        rewards=segment.rewards[:, steps],
        terminations=segment.terminations[:, steps],
        mask=segment.mask[:, steps],
    )
    features, spread = play_open_loop(model, future, generator)
    error = model.normalizer.error(features - future.observations[:, 1:])
    error = error.nan_to_num(nan=LARGEST_ERROR).clamp(max=LARGEST_ERROR)
    elapsed = torch.arange(1, spread.shape[1] + 1)
    expected = calibration.expected_error(spread, trained.support.distance(features), elapsed, deterministic)
    bound = calibration.bound(expected, elapsed, deterministic)

    def recorded(values: Tensor) -> FloatArray:
        known = torch.where(future.mask > 0, values, torch.nan)
        return np.asarray(F.pad(known, (0, horizon - values.shape[1]), value=torch.nan).double().numpy())

    surprise = _surprise(trained, segment, watched).double().numpy()
    return Doubts(recorded(error), recorded(expected), recorded(bound), surprise, episodes)


def _surprise(trained: TrainedModel, segment: Segment, watched: int) -> Tensor:
    """Geometric mean (B,) of actual over expected one-step error along the watched steps, at least 1.

    A mean of the ratios themselves is ruled by single impacts, and found changed robots worse (docs/log.md).
    """
    if not watched:
        return torch.ones(len(segment.actions))
    model, one = trained.model, torch.ones((), dtype=torch.int64)
    ratios = []
    for step in range(watched):
        latent = model.observe(None, None, segment.observations[:, step])
        said = model.predict(model.imagine(latent, segment.actions[:, step]))
        features = model.features(latent, said)
        distance = trained.support.distance(features)
        expected = trained.calibration.expected_error(said.spread, distance, one, True)
        error = model.normalizer.error(features - segment.observations[:, step + 1])
        ratios.append(error.clamp(1e-6, LARGEST_ERROR) / expected.clamp(min=1e-6))
    return torch.stack(ratios, 1).log().mean(1).exp().clamp(min=1.0)


def judge_coverage(doubts: Doubts, horizon: int, generator: np.random.Generator) -> dict[str, Any]:
    """Share of actual errors below the bound, with intervals over episodes; an episode weighs the same at each horizon.

    Args:
        doubts: of episodes that are exchangeable with those of the calibration.
        horizon: the last calibrated step.
        generator: draws the bootstrap samples.

    Returns:
        ``pooled`` over all horizons; ``curve`` and ``episodes`` (H,); ``at`` the horizons of ``COVERED``.
    """
    steps = min(horizon, doubts.error.shape[1])
    error, bound = doubts.error[:, :steps], doubts.bound[:, :steps]
    share = _shares(np.isfinite(error), doubts.episodes)
    hits = np.where(share > 0, error <= bound, False) * share
    resampling = Resampling(doubts.episodes.tolist(), generator)

    def pooled(weights: FloatArray) -> FloatArray:
        return np.asarray((weights @ hits.sum(1)) / (weights @ share.sum(1)))

    def curve(weights: FloatArray) -> FloatArray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights @ hits) / (weights @ share))

    drawn = resampling.over_seeds([curve])
    episodes = np.rint(share.sum(0)).astype(int)
    return {
        "pooled": _figure(resampling.over_seeds([pooled])),
        "curve": plain(drawn.interval()),
        "episodes": episodes.tolist(),
        "at": {
            str(h): _figure(Resampled(drawn.value[h - 1], drawn.samples[:, h - 1])) | {"episodes": int(episodes[h - 1])}
            for h in COVERED
            if h <= steps and episodes[h - 1] >= ENOUGH
        },
    }


def judge_discrimination(doubts: Doubts, generator: np.random.Generator) -> dict[str, Any]:
    """AUROC of both doubts for "the actual error is above ``WRONG``" at fixed horizons, intervals over episodes.

    None at a horizon with fewer than ``ENOUGH`` wrong predictions, or right ones.
    """
    found: dict[str, Any] = {}
    for horizon in HORIZONS:
        if horizon > doubts.error.shape[1]:
            continue
        error = doubts.error[:, horizon - 1]
        known = np.isfinite(error)
        wrong = int((error[known] > WRONG).sum())
        row: dict[str, Any] = {"rollouts": int(known.sum()), "wrong": wrong, "expected": None, "surprised": None}
        if min(wrong, int(known.sum()) - wrong) >= ENOUGH:
            row |= {
                name: _auroc(
                    getattr(doubts, name)[known, horizon - 1], error[known] > WRONG, doubts.episodes[known], generator
                )
                for name in ("expected", "surprised")
            }
        found[str(horizon)] = row
    return found


def reliability(doubts: Doubts) -> list[dict[str, float]]:
    """Mean actual error against mean expected error, in tenths of what was expected, all horizons together."""
    known = np.isfinite(doubts.error)
    error, expected = doubts.error[known], doubts.expected[known]
    parts = np.array_split(expected.argsort(), _BINS)
    return [
        {"expected": float(expected[part].mean()), "actual": float(error[part].mean()), "rollouts": len(part)}
        for part in parts
        if len(part)
    ]


def _auroc(
    scores: FloatArray, positive: BoolArray, episodes: FloatArray, generator: np.random.Generator
) -> Mapping[str, float | None]:
    """Area and interval; rollouts of one episode are drawn together."""
    _, rows = np.unique(episodes, return_inverse=True)
    columns = np.array([int((rows[:index] == row).sum()) for index, row in enumerate(rows)])
    table = np.full((rows.max() + 1, columns.max() + 1), np.nan)
    marked = np.zeros(table.shape, dtype=bool)
    table[rows, columns], marked[rows, columns] = scores, positive
    weights = resample_counts(len(table), generator)
    once = np.ones((1, len(table)))
    return _figure(Resampled(discrimination(table, marked, once)[0], discrimination(table, marked, weights)))


def _shares(known: BoolArray, episodes: FloatArray) -> FloatArray:
    """(N, H) weights of the rollouts that still run at each step: those of an episode add up to 1."""
    _, rows = np.unique(episodes, return_inverse=True)
    counts = np.zeros((rows.max() + 1, known.shape[1]))
    np.add.at(counts, rows, known)
    return np.where(known, 1.0 / np.maximum(counts[rows], 1.0), 0.0)


def _figure(resampled: Resampled) -> dict[str, float | None]:
    interval = resampled.interval()
    return dict(plain({name: float(getattr(interval, name)) for name in ("value", "low", "high")}))
