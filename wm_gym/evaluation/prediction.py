"""Open-loop error: how far the imagination drifts from the physics when both are given the same actions.

Errors are root mean squares over episodes, in standard deviations of the data (nRMSE), so that 0 is exact and about
1.4 is what an unrelated moment of the same data scores. A prediction that is not finite counts as ``FAILED``, never as
missing. Numbers that never move in the data are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from wm_gym.evaluation import statistics
from wm_gym.evaluation.held_out import HeldOut
from wm_gym.evaluation.statistics import CurveInterval, Interval
from wm_gym.models.world_model import WorldModel
from wm_gym.types import BoolArray, Episode, FloatArray, Observation

FAILED = 10.0
"""nRMSE that a prediction scores when it is not finite, and the most that any single number can score."""
VALID = 0.3
"""nRMSE up to which a prediction counts as valid."""


@dataclass(frozen=True)
class Scale:
    """What one unit of error is: the standard deviation of each observed number over the data."""

    observation: FloatArray
    """(S,)."""
    moving: tuple[int, ...]
    """The numbers that move within an episode, the only ones that are scored: a target that differs from episode to
    episode but stays where it is would make every prediction look better."""
    reward: float

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> Scale:
        """Measure it over every row of ``episodes``."""
        seen = np.concatenate([np.asarray(episode.observations, dtype=np.float64) for episode in episodes])
        changes = np.concatenate([np.diff(episode.observations.astype(np.float64), axis=0) for episode in episodes])
        rewards = np.concatenate([np.asarray(episode.rewards, dtype=np.float64) for episode in episodes])
        moving = np.sqrt(np.square(changes).mean(axis=0)) > 1e-6 * np.maximum(1.0, np.abs(seen).max(axis=0))
        kept = tuple(int(index) for index in np.flatnonzero(moving))
        return cls(seen.std(axis=0), kept, max(float(rewards.std()), 1e-8))


@dataclass(frozen=True)
class Predicted:
    """What a predictor says of N held-out windows over H steps; None where it says nothing."""

    states: FloatArray
    """(N, H, S) raw observations; not finite where it failed."""
    rewards: FloatArray | None = None
    """(N, H)."""
    continuation: FloatArray | None = None
    """(N, H): probability that the episode goes on after each step, given that it came so far."""


@dataclass(frozen=True)
class PredictionError:
    """One predictor's error against the held-out episodes."""

    name: str
    curve: CurveInterval
    """nRMSE at each of H horizons over all scored numbers."""
    per_dimension: FloatArray
    """(H, D) nRMSE of each scored number."""
    squares: FloatArray
    """(N, H) mean squared normalised error of each episode."""
    failures: int
    """Episodes with a prediction that was not finite."""


@dataclass(frozen=True)
class ValidTime:
    """First horizon whose nRMSE is above ``VALID``, in steps; censored where none is."""

    steps: int
    low: int
    high: int
    censored: bool
    """No horizon was above: the valid time is at least ``steps``."""
    high_censored: bool
    """The interval's upper end is at least ``high``."""


def imagine_open_loop(model: WorldModel, held_out: HeldOut) -> Predicted:
    """The model's mean prediction under the recorded actions, after observing what was known."""
    observations = torch.as_tensor(held_out.observations, dtype=torch.float32)
    actions = torch.as_tensor(held_out.actions, dtype=torch.float32)
    first = max(0, held_out.start - model.context)
    states, rewards, continuation = [], [], []
    with torch.inference_mode():
        latent = model.observe(None, None, model.encode(Observation(observations[:, first])))
        for step in range(first, held_out.start):
            embedding = model.encode(Observation(observations[:, step + 1]))
            latent = model.observe(latent, actions[:, step], embedding)
        for step in range(held_out.start, held_out.start + held_out.horizon):
            latent = model.imagine(latent, actions[:, step])
            prediction = model.predict(latent)
            assert prediction.state is not None, "a model without a decoded state has no state error"
            states.append(prediction.state)
            rewards.append(prediction.reward)
            continuation.append(prediction.continuation)
    return Predicted(*(torch.stack(part, 1).double().numpy() for part in (states, rewards, continuation)))


def normalised_squares(predicted: FloatArray, held_out: HeldOut, scale: Scale) -> tuple[FloatArray, BoolArray]:
    """Squared errors of a prediction (N, H, S) in squared standard deviations of the data.

    Returns:
        (N, H, D) for the D scored numbers, and (N, H) whether one of them was not finite. Steps after an episode's end
        hold no meaning.
    """
    kept = list(scale.moving)
    with np.errstate(over="ignore", invalid="ignore"):
        error = (predicted[..., kept] - held_out.truth[..., kept]) / scale.observation[kept]
    failed = ~np.isfinite(error)
    squares = np.square(np.where(failed, FAILED, np.clip(error, -FAILED, FAILED)))
    return squares, np.asarray(failed.any(axis=-1))


def score(
    name: str, predicted: FloatArray, held_out: HeldOut, scale: Scale, generator: np.random.Generator
) -> PredictionError:
    """Hold a prediction (N, H, S) against the truth.

    Args:
        name: of the predictor.
        predicted: raw observations; not finite where it failed.
        held_out: what truly happened.
        scale: what one unit of error is.
        generator: resamples the episodes.
    """
    squares, failed = normalised_squares(predicted, held_out, scale)
    weight = held_out.running[..., None].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        per_dimension = np.sqrt((squares * weight).sum(axis=0) / weight.sum(axis=0))
    overall = squares.mean(axis=-1)
    return PredictionError(
        name=name,
        curve=statistics.root_mean_square_interval(overall, held_out.running, generator),
        per_dimension=per_dimension,
        squares=overall,
        failures=int((failed & held_out.running).any(axis=-1).sum()),
    )


def skill(
    model: PredictionError, baselines: Sequence[PredictionError], held_out: HeldOut, generator: np.random.Generator
) -> tuple[CurveInterval, list[str]]:
    """1 - nRMSE / that of the best baseline at each horizon (1 is exact, 0 no better), and which baseline that is.

    The best baseline is chosen anew in every bootstrap sample, as it would be with other episodes.
    """
    curves = np.stack([baseline.curve.value for baseline in baselines])
    names = [baselines[index].name for index in np.argmin(np.where(np.isfinite(curves), curves, np.inf), axis=0)]
    state = generator.bit_generator.state
    samples = []
    for error in [model, *baselines]:
        generator.bit_generator.state = state  # the same resampled episodes for every predictor: they are paired
        samples.append(statistics.root_mean_square_samples(error.squares, held_out.running, generator))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = 1.0 - model.curve.value / np.min(curves, axis=0)
        resampled = 1.0 - samples[0] / np.min(np.stack(samples[1:]), axis=0)
    low, high = (_finite_percentile(resampled, q) for q in (2.5, 97.5))
    return CurveInterval(value, low, high), names


def valid_time(error: PredictionError, held_out: HeldOut, generator: np.random.Generator) -> ValidTime:
    """How many steps the prediction stays valid, with the interval over episodes."""
    samples = statistics.root_mean_square_samples(error.squares, held_out.running, generator)
    low, high = np.percentile([_first_above(curve) for curve in samples], [2.5, 97.5], method="nearest")
    steps, horizon = _first_above(error.curve.value), held_out.horizon
    return ValidTime(
        steps=min(steps, horizon),
        low=min(int(low), horizon),
        high=min(int(high), horizon),
        censored=steps > horizon,
        high_censored=int(high) > horizon,
    )


def excess(error: PredictionError, floor: PredictionError, horizon: int) -> float:
    """Error at ``horizon`` (counted from 1) as a multiple of the physics engine's own floor."""
    return float(error.curve.value[horizon - 1] / max(floor.curve.value[horizon - 1], 1e-12))


def at_horizon(curve: CurveInterval, horizon: int) -> Interval:
    """The figure at ``horizon`` steps, counted from 1."""
    index = horizon - 1
    return Interval(float(curve.value[index]), float(curve.low[index]), float(curve.high[index]))


def _first_above(curve: FloatArray) -> int:
    """Counted from 1; one more than the horizon where none is above."""
    above = np.flatnonzero(curve > VALID)
    return int(above[0]) + 1 if len(above) else len(curve) + 1


def _finite_percentile(samples: FloatArray, percentile: float) -> FloatArray:
    columns = [column[np.isfinite(column)] for column in samples.T]
    return np.array([np.percentile(c, percentile) if len(c) else np.nan for c in columns])
