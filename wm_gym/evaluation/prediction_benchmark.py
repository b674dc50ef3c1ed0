"""Open-loop prediction of held-out windows: every predictor scored by the same rules, as plain values.

Errors are those of ``prediction.py``: root mean squares in standard deviations of the training data (nRMSE), over the
numbers that move. The windows of an episode are drawn together in the bootstrap, and training seeds beside them
(``resampling.py``). The valid prediction time of a window is the first step whose nRMSE is above 0.3; windows whose
recording stops earlier are censored (``survival.py``). Its mean is restricted to the steps that enough episodes reach,
the same for every predictor: what follows would rest on a handful.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wm_gym.evaluation import prediction, survival
from wm_gym.evaluation.held_out import HeldOut
from wm_gym.evaluation.labels import number_label
from wm_gym.evaluation.prediction import Predicted, Scale
from wm_gym.evaluation.report import plain
from wm_gym.evaluation.resampling import Figure, Resampled, Resampling, weighted_mean
from wm_gym.evaluation.reward_sums import judge_reward_sums
from wm_gym.evaluation.statistics import CurveInterval
from wm_gym.evaluation.termination import judge_termination
from wm_gym.types import BoolArray, FloatArray, TaskSpec

HORIZONS = (1, 10, 25, 50, 100, 200)
"""Steps at which the table shows figures."""
SUMS = (50, 100)
"""Steps over which rewards are summed."""
JUDGED_BELOW = 0.5
"""nRMSE of the floor up to which a horizon is judged: beyond it the physics does not predict itself."""
ENOUGH_EPISODES = 10
"""Episodes that must still run where a horizon is judged, and where valid times are counted."""
JUDGED_STEPS = 100
"""The verdict on skill looks at horizons up to here."""


@dataclass(frozen=True)
class Predictor:
    """Something that predicts, with one prediction for each of its training seeds."""

    id: str
    kind: str
    """``model``, ``rival``, ``baseline`` or ``floor``."""
    name: str
    seeds: Sequence[Predicted]


@dataclass(frozen=True)
class Scored:
    """A predictor's figures, each with its bootstrap samples."""

    predictor: Predictor
    curve: Resampled
    """(H,) nRMSE at each horizon."""
    lasting: Resampled
    """(limit+1,) share of the windows whose prediction is still valid after each step."""
    valid_time: Resampled
    """() mean valid prediction time, restricted to the limit."""
    dimensions: Resampled
    """(horizons of the table, D) nRMSE of each scored number."""
    failures: int
    """Windows with a prediction that was not finite, of the seed that had most."""


def measure_prediction(
    predictors: Sequence[Predictor],
    held_out: HeldOut,
    origins: Sequence[int],
    scale: Scale,
    task: TaskSpec,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Everything that is measured, as plain values.

    Args:
        predictors: exactly one ``model``, at least one ``baseline``, and a ``floor`` where there is physics.
        held_out: N windows.
        origins: (N,) the episode of each window.
        scale: what one unit of error is.
        task: what the observation means.
        generator: draws the bootstrap samples.
    """
    resampling = Resampling(origins, generator)
    shown = [h for h in HORIZONS if h <= held_out.horizon]
    enough = episodes_running(held_out, origins) >= ENOUGH_EPISODES
    limit = int(enough.sum()) or held_out.horizon
    scored = [_score(predictor, held_out, scale, resampling, shown, limit) for predictor in predictors]
    model = next(found for found in scored if found.predictor.kind == "model")
    naive = [found for found in scored if found.predictor.kind == "baseline"]
    skill, best = _skill(model, naive)
    judged = _judged(scored, enough)
    return {
        "control_dt": task.control_dt,
        "horizon": held_out.horizon,
        "start": held_out.start,
        "unit": "standard deviations over the training episodes",
        "valid_below": prediction.VALID,
        "valid_time_limit": limit,
        "judged_below": JUDGED_BELOW,
        "windows": held_out.running.sum(axis=0).tolist(),
        "episodes": episodes_running(held_out, origins).tolist(),
        "judged": judged.tolist(),
        "predictors": [_entry(found, limit) for found in scored],
        "skill": plain(skill.interval()) | {"best_baseline": best},
        "verdict": _verdict(skill, judged),
        "table": [_row(h, scored, skill, best, held_out, judged) for h in shown],
        "valid_time_ratios": {
            found.predictor.id: _single(model.valid_time / found.valid_time)
            for found in scored
            if found.predictor.kind in ("floor", "rival")
        },
        "dimensions": _dimensions(scored, scale, task, shown),
        "still": [index for index in range(task.observation_space.size) if index not in scale.moving],
        "rewards": _rewards(predictors, held_out, resampling),
        "termination": judge_termination(model.predictor.seeds, held_out, resampling),
    }


def _score(
    predictor: Predictor, held_out: HeldOut, scale: Scale, resampling: Resampling, shown: Sequence[int], limit: int
) -> Scored:
    running = held_out.running
    at = np.array(shown) - 1
    curves: list[Figure] = []
    lasting: list[Figure] = []
    dimensions: list[Figure] = []
    failures = 0
    for seed in predictor.seeds:
        squares, failed = prediction.normalised_squares(seed.states, held_out, scale)
        overall = squares.mean(axis=-1)
        failures = max(failures, int((failed & running).any(axis=-1).sum()))
        curves.append(_root_mean(overall, running))
        lasting.append(_lasting(overall, held_out, limit))
        dimensions.append(_root_mean(squares[:, at], running[:, at, None]))
    valid = resampling.over_seeds(lasting)
    return Scored(
        predictor,
        resampling.over_seeds(curves),
        valid,
        Resampled(survival.restricted_mean(valid.value), survival.restricted_mean(valid.samples)),
        resampling.over_seeds(dimensions),
        failures,
    )


def _root_mean(squares: FloatArray, mask: BoolArray) -> Figure:
    return lambda weights: np.sqrt(weighted_mean(weights, squares, mask))


def _lasting(squares: FloatArray, held_out: HeldOut, limit: int) -> Figure:
    """The Kaplan-Meier curve of one seed's valid prediction times."""
    above = (np.sqrt(squares) > prediction.VALID) & held_out.running
    ended = np.asarray(above.any(axis=1))
    durations = np.where(ended, above.argmax(axis=1) + 1, held_out.running.sum(axis=1))
    return lambda weights: survival.kaplan_meier(durations, ended, limit, weights)


def _skill(model: Scored, naive: Sequence[Scored]) -> tuple[Resampled, list[str]]:
    """1 - nRMSE / that of the best naive predictor, which is chosen anew in every bootstrap sample; and which it is."""
    values = np.stack([found.curve.value for found in naive])
    best = Resampled(values.min(axis=0), np.min([found.curve.samples for found in naive], axis=0))
    ratio = model.curve / best
    names = [naive[index].predictor.id for index in values.argmin(axis=0)]
    return Resampled(1.0 - ratio.value, 1.0 - ratio.samples), names


def _judged(scored: Sequence[Scored], enough: BoolArray) -> BoolArray:
    """(H,) horizons that enough episodes reach and that the physics itself predicts."""
    floors = [found.curve.value <= JUDGED_BELOW for found in scored if found.predictor.kind == "floor"]
    return np.asarray(np.logical_and.reduce([enough, *floors]))


def episodes_running(held_out: HeldOut, origins: Sequence[int]) -> survival.IntArray:
    """(H,) episodes of which a window still runs at each horizon."""
    episodes = np.asarray(origins)
    return np.array([len(np.unique(episodes[column])) for column in held_out.running.T])


def _verdict(skill: Resampled, judged: BoolArray) -> dict[str, Any]:
    """Whether the skill is above zero, its interval too, at every judged horizon up to ``JUDGED_STEPS``."""
    steps = np.flatnonzero(judged[:JUDGED_STEPS])
    if not len(steps):
        return {"judged_horizons": 0, "skill_above_zero": None, "lowest_skill": None, "at_horizon": None}
    low = skill.interval().low[steps]
    worst = int(steps[low.argmin()])
    return {
        "judged_horizons": len(steps),
        "skill_above_zero": bool((low > 0).all()),
        "lowest_skill": _at(skill, worst),
        "at_horizon": worst + 1,
    }


def _entry(found: Scored, limit: int) -> dict[str, Any]:
    return {
        "id": found.predictor.id,
        "kind": found.predictor.kind,
        "name": found.predictor.name,
        "seeds": len(found.predictor.seeds),
        "failures": found.failures,
        "curve": plain(found.curve.interval()),
        "valid_time": {
            "mean": _single(found.valid_time),
            "median": _median(found.lasting, limit),
            "still_valid": float(found.lasting.value[-1]),
        },
    }


def _median(lasting: Resampled, limit: int) -> dict[str, Any]:
    """The median valid time; where half of the windows outlast the limit it is at least that."""
    value = int(survival.median_time(lasting.value[None])[0])
    low, high = np.percentile(survival.median_time(lasting.samples), [2.5, 97.5], method="nearest")
    found = prediction.ValidTime(
        min(value, limit), min(int(low), limit), min(int(high), limit), value > limit, int(high) > limit
    )
    return dict(plain(found))


def _row(
    horizon: int,
    scored: Sequence[Scored],
    skill: Resampled,
    best: Sequence[str],
    held_out: HeldOut,
    judged: BoolArray,
) -> dict[str, Any]:
    index = horizon - 1
    return {
        "horizon": horizon,
        "windows": int(held_out.running[:, index].sum()),
        "judged": bool(judged[index]),
        "errors": {found.predictor.id: _at(found.curve, index) for found in scored},
        "best_baseline": best[index],
        "skill": _at(skill, index),
    }


def _dimensions(scored: Sequence[Scored], scale: Scale, task: TaskSpec, shown: Sequence[int]) -> list[dict[str, Any]]:
    curves = {found.predictor.id: found.dimensions.interval() for found in scored}
    return [
        {
            "index": index,
            "label": number_label(index, task.observation_map),
            "errors": {
                str(horizon): {name: _entry_of(curve, (place, column)) for name, curve in curves.items()}
                for place, horizon in enumerate(shown)
            },
        }
        for column, index in enumerate(scale.moving)
    ]


def _rewards(predictors: Sequence[Predictor], held_out: HeldOut, resampling: Resampling) -> dict[str, Any]:
    """Sums of rewards of every predictor that predicts them."""
    able = [predictor for predictor in predictors if all(seed.rewards is not None for seed in predictor.seeds)]
    return {
        predictor.id: {str(steps): judge_reward_sums(predictor.seeds, held_out, resampling, steps) for steps in SUMS}
        for predictor in able
    }


def _single(figure: Resampled) -> Mapping[str, float | None]:
    return _entry_of(figure.interval(), ())


def _at(figure: Resampled, index: int) -> Mapping[str, float | None]:
    return _entry_of(Resampled(figure.value[index], figure.samples[:, index]).interval(), ())


def _entry_of(curve: CurveInterval, index: tuple[int, ...]) -> Mapping[str, float | None]:
    """One figure of a curve with its interval; None for what does not exist."""
    return dict(plain({name: float(getattr(curve, name)[index]) for name in ("value", "low", "high")}))
