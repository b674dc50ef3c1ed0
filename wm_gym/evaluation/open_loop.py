"""The report's section on prediction: every predictor scored on the same held-out episodes, as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wm_gym.evaluation import baselines, prediction
from wm_gym.evaluation.held_out import HeldOut
from wm_gym.evaluation.prediction import PredictionError, Scale
from wm_gym.evaluation.report import plain
from wm_gym.evaluation.statistics import CurveInterval
from wm_gym.models.world_model import WorldModel
from wm_gym.types import Episode, FloatArray, ObservationMap, TaskSpec

HORIZONS = (1, 10, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class OpenLoop:
    """The section, and the raw predictions behind it."""

    section: dict[str, Any]
    model_states: FloatArray
    """(N, H, S)."""
    model_rewards: FloatArray
    """(N, H)."""
    floor_states: FloatArray
    floor_rewards: FloatArray


def judge_prediction(
    model: WorldModel,
    task: TaskSpec,
    held_out: HeldOut,
    training: Sequence[Episode],
    floor: tuple[FloatArray, FloatArray],
    generator: np.random.Generator,
) -> OpenLoop:
    """Score the model, the naive baselines and the physics' own floor.

    Args:
        model: predicts from the first observations and the recorded actions.
        task: what the observation means.
        held_out: recorded by the evaluation.
        training: what the model was fitted on, for the unit of error and the autoregression; may be empty.
        floor: states and rewards of the physics started slightly off.
        generator: resamples the episodes.
    """
    scale = Scale.of(training or held_out.episodes)
    imagined = prediction.imagine_open_loop(model, held_out)
    states, rewards = imagined.states, imagined.rewards
    assert rewards is not None, "a world model predicts rewards"
    naive = {"persistence": baselines.persistence(held_out), "velocity": baselines.constant_velocity(held_out)}
    if training:
        naive["arx"] = baselines.fit_autoregression(training).rollout(held_out)
    names = {"persistence": "nothing changes", "velocity": "constant velocity", "arx": "linear model (ARX)"}

    def error(name: str, predicted: FloatArray) -> PredictionError:
        return prediction.score(name, predicted, held_out, scale, generator)

    judged = error("world model", states)
    guesses = [error(names[key], predicted) for key, predicted in naive.items()]
    bottom = error("MuJoCo, start slightly off", floor[0])
    entries = [_entry("model", "model", judged), _entry("floor", "floor", bottom)]
    entries += [_entry(key, "baseline", guess) for key, guess in zip(naive, guesses, strict=True)]
    section: dict[str, Any] = {
        "episodes": len(held_out.episodes),
        "horizon": held_out.horizon,
        "start": held_out.start,
        "control_dt": task.control_dt,
        "first_seed": held_out.episodes[0].seed,
        "behaviours": dict(sorted(Counter(held_out.behaviours).items())),
        "unit": "standard deviations over the training data" if training else "standard deviations over these episodes",
        "floor_noise": baselines.SENSOR_NOISE,
        "valid_below": prediction.VALID,
        "predictors": entries,
        "reward": {
            "model": plain(prediction.reward_error(rewards, held_out, scale, generator)),
            "floor": plain(prediction.reward_error(floor[1], held_out, scale, generator)),
        },
    }
    section |= _figures(judged, bottom, guesses, held_out, scale, task, generator)
    section["by_behaviour"] = _by_behaviour(states, held_out, scale, generator, section["horizons"][-1])
    return OpenLoop(section, states, rewards, *floor)


def _entry(key: str, kind: str, error: PredictionError) -> dict[str, Any]:
    return {
        "id": key,
        "kind": kind,
        "name": error.name,
        "failures": error.failures,
        "curve": plain(error.curve),
    }


def _figures(
    judged: PredictionError,
    bottom: PredictionError,
    guesses: Sequence[PredictionError],
    held_out: HeldOut,
    scale: Scale,
    task: TaskSpec,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Skill, valid time, and the table and dimensions at a few horizons."""
    skill, best = prediction.skill(judged, guesses, held_out, generator)
    valid = prediction.valid_time(judged, held_out, generator)
    running = held_out.running.sum(axis=0)
    reached = [h for h in HORIZONS if h < held_out.horizon] + [held_out.horizon]
    horizons = reached[-4:]  # a figure tells four shades apart
    table = [
        {
            "horizon": h,
            "seconds": h * task.control_dt,
            "running": int(running[h - 1]),
            "model": plain(prediction.at_horizon(judged.curve, h)),
            "best_baseline": float(min(guess.curve.value[h - 1] for guess in guesses)),
            "best_baseline_name": best[h - 1],
            "floor": plain(prediction.at_horizon(bottom.curve, h)),
            "skill": _interval_or_none(skill, h),
            "excess": prediction.excess(judged, bottom, h),
        }
        for h in reached
    ]
    return {
        "skill": plain(skill) | {"best_baseline": best},
        "valid_time": plain(valid) | {"seconds": valid.steps * task.control_dt},
        "running": running.tolist(),
        "horizons": horizons,
        "table": table,
        "dimensions": [
            {
                "index": index,
                "label": number_label(index, task.observation_map),
                "errors": {str(h): float(judged.per_dimension[h - 1, column]) for h in horizons},
            }
            for column, index in enumerate(scale.moving)
        ],
        "still": [i for i in range(task.observation_space.size) if i not in scale.moving],
    }


def _interval_or_none(curve: CurveInterval, horizon: int) -> dict[str, float] | None:
    found = plain(prediction.at_horizon(curve, horizon))
    return None if None in found.values() else found


def _by_behaviour(
    states: FloatArray, held_out: HeldOut, scale: Scale, generator: np.random.Generator, horizon: int
) -> list[dict[str, Any]]:
    """The model's error at the last horizon for each behaviour: who acts decides how hard the future is."""
    rows = []
    for behaviour in sorted(set(held_out.behaviours)):
        chosen = [index for index, name in enumerate(held_out.behaviours) if name == behaviour]
        part = held_out.rows(chosen)
        error = prediction.score(behaviour, states[chosen], part, scale, generator)
        if part.running[:, horizon - 1].any():
            found = plain(prediction.at_horizon(error.curve, horizon))
            rows.append({"behaviour": behaviour, "episodes": len(chosen), "horizon": horizon, "error": found})
    return rows


def number_label(index: int, described: ObservationMap) -> str:
    """What an observed number is, as far as the recording says."""
    for joint, pair in enumerate(described.sin_cos):
        if index in pair:
            return f"{index}: {'sine' if index == pair[0] else 'cosine'} of angle {joint + 1}"
    for first in described.quaternions:
        if first <= index < first + 4:
            return f"{index}: quaternion {'wxyz'[index - first]}"
    if index in described.angles:
        return f"{index}: angle"
    for joint, entry in enumerate(described.qpos):
        if entry.get("kind") == "linear" and entry.get("index") == index:
            return f"{index}: position {joint + 1}"
    return f"{index}"
