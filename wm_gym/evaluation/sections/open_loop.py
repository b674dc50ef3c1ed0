"""Open-loop fidelity: the world's own future under recorded actions, beside naive guesses and MuJoCo's own floor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wm_gym.evaluation import baselines, prediction
from wm_gym.evaluation.bench import HELD_OUT_SEED, Bench
from wm_gym.evaluation.held_out import HeldOut
from wm_gym.evaluation.labels import number_label
from wm_gym.evaluation.prediction import PredictionError
from wm_gym.evaluation.records import Record, of, ragged
from wm_gym.evaluation.sections.section import Measured, Plain, Section
from wm_gym.evaluation.statistics import CurveInterval, root_mean_square_interval
from wm_gym.evaluation.trajectories import Recorded, predicted_episodes
from wm_gym.evaluation.verdicts import gate
from wm_gym.evaluation.worlds import Followed, Moments, moments_of
from wm_gym.types import FloatArray

NAMES = {
    "model": "world model",
    "floor": "MuJoCo, start slightly off",
    "persistence": "nothing changes",
    "velocity": "constant velocity",
    "arx": "linear model (ARX)",
}
HORIZONS = (1, 10, 50, 100, 200, 500, 1000)
SKILL_AT = 10
"""Steps of the short rollouts that augment data."""
SKILL_GATE = 0.5


def measure(bench: Bench) -> Measured:
    """Let every predictor follow the recorded actions of the held-out episodes."""
    held_out, scale = bench.held_out, bench.scale
    starts = moments_of(held_out.episodes, held_out.start)
    imagined = bench.world.follow(starts, held_out.future_actions)
    off = bench.physics.follow(_off(starts, bench), held_out.future_actions)
    states = {
        "model": imagined.observations,
        "floor": off.observations,
        "persistence": baselines.persistence(held_out),
        "velocity": baselines.constant_velocity(held_out),
    }
    if bench.training:
        states["arx"] = baselines.fit_autoregression(bench.training).rollout(held_out)
    described = bench.task.observation_map
    setup = {
        "setup": {
            "horizon": held_out.horizon,
            "start": held_out.start,
            "labels": {str(index): number_label(index, described) for index in scale.moving},
            "still": [i for i in range(bench.task.observation_space.size) if i not in scale.moving],
            "unit": "standard deviations of the " + ("training data" if bench.training else "held-out episodes"),
        }
    }
    records: list[Record] = [setup]
    for predictor, predicted in states.items():
        said = imagined if predictor == "model" else None
        records += _rows(predictor, predicted, said, held_out, bench)
    kept = [
        Recorded("open_loop", "physics", "", list(held_out.episodes)),
        Recorded("open_loop", "imagination", "", predicted_episodes(held_out, states["model"], imagined.rewards)),
        Recorded("open_loop", "floor", "", predicted_episodes(held_out, states["floor"], off.rewards)),
    ]
    return Measured(records, kept)


def _off(starts: Moments, bench: Bench) -> Moments:
    """Almost the same moments: the joints are off by a sensor's noise."""
    noise = bench.generator("floor").normal(scale=baselines.SENSOR_NOISE, size=starts.qpos.shape)
    return Moments(starts.observations, starts.qpos + noise, starts.qvel)


def _rows(
    predictor: str, predicted: FloatArray, said: Followed | None, held_out: HeldOut, bench: Bench
) -> list[Record]:
    """One record for each episode: squared errors at every step that was recorded."""
    squares, failed = prediction.normalised_squares(predicted, held_out, bench.scale)
    horizons = _shown(held_out.horizon)[-4:]
    records: list[Record] = []
    for row, episode in enumerate(held_out.episodes):
        steps = int(held_out.running[row].sum())
        record: Plain = {
            "predictor": predictor,
            "episode": row,
            "seed": episode.seed,
            "behaviour": episode.behaviour,
            "squares": squares[row, :steps].mean(-1).tolist(),
            "failed": bool(failed[row, :steps].any()),
        }
        if said is not None:
            record["dimensions"] = {str(h): squares[row, h - 1].tolist() for h in horizons if h <= steps}
            error = (said.rewards[row, :steps] - held_out.future_rewards[row, :steps]) / bench.scale.reward
            limit = prediction.FAILED
            error = np.where(np.isfinite(error), np.clip(error, -limit, limit), limit)
            record["reward_squares"] = np.square(error).tolist()
            record["uncertainty"] = None if said.uncertainty is None else said.uncertainty[row, :steps].tolist()
        records.append(record)
    return records


def judge(records: Sequence[Record], known: Mapping[str, Any], generator: np.random.Generator) -> Plain:
    """Errors by horizon with intervals over episodes, skill, valid time, floor."""
    setup = next(record["setup"] for record in records if "setup" in record)
    rows = {name: of(records, predictor=name) for name in NAMES if of(records, predictor=name)}
    held_out = _light(rows["model"], setup)
    errors = {name: _error(name, found, held_out, generator) for name, found in rows.items()}
    guesses = [errors[name] for name in errors if name not in ("model", "floor")]
    skill, best = prediction.skill(errors["model"], guesses, held_out, generator)
    valid = prediction.valid_time(errors["model"], held_out, generator)
    control_dt = known["task"]["control_dt"]
    table = [_row(h, errors, guesses, best, skill, held_out, control_dt) for h in _shown(held_out.horizon)]
    reward = root_mean_square_interval(
        np.nan_to_num(ragged(rows["model"], "reward_squares", held_out.horizon)), held_out.running, generator
    )
    at = min(SKILL_AT, held_out.horizon)
    return {
        "tested": True,
        "episodes": len(rows["model"]),
        "horizon": held_out.horizon,
        "start": setup["start"],
        "control_dt": control_dt,
        "first_seed": HELD_OUT_SEED,
        "behaviours": dict(sorted(Counter(record["behaviour"] for record in rows["model"]).items())),
        "unit": setup["unit"],
        "floor_noise": baselines.SENSOR_NOISE,
        "predictors": [_entry(name, error) for name, error in errors.items()],
        "skill": _curve(skill) | {"best_baseline": best},
        "valid_time": vars(valid) | {"seconds": valid.steps * control_dt},
        "running": held_out.running.sum(axis=0).tolist(),
        "horizons": _shown(held_out.horizon)[-4:],
        "table": table,
        "reward": {"model": _curve(reward)},
        "dimensions": _dimensions(rows["model"], setup, held_out),
        "by_behaviour": _by_behaviour(rows["model"], held_out, generator),
        "still": setup["still"],
        "gates": [gate("skill", _at(skill, at) | {"horizon": at}, at_least=SKILL_GATE)],
    }


def _shown(horizon: int) -> list[int]:
    return [h for h in HORIZONS if h < horizon] + [horizon]


def _light(rows: Sequence[Record], setup: Plain) -> HeldOut:
    """Which steps were recorded: all that the statistics need of the held-out episodes."""
    lengths = np.array([len(record["squares"]) for record in rows])
    running = np.arange(setup["horizon"])[None, :] < lengths[:, None]
    rows_only = np.zeros((len(rows), 0))
    return HeldOut(rows_only[..., None], rows_only[..., None], rows_only, running, setup["start"], ())


def _error(name: str, rows: Sequence[Record], held_out: HeldOut, generator: np.random.Generator) -> PredictionError:
    squares = np.nan_to_num(ragged(rows, "squares", held_out.horizon))
    curve = root_mean_square_interval(squares, held_out.running, generator)
    failures = sum(record["failed"] for record in rows)
    return PredictionError(NAMES[name], curve, np.zeros((held_out.horizon, 0)), squares, failures)


def _entry(name: str, error: PredictionError) -> Plain:
    kind = name if name in ("model", "floor") else "baseline"
    shared = {"id": name, "kind": kind, "name": error.name}
    return shared | {"curve": _curve(error.curve), "failures": error.failures}


def _row(
    horizon: int,
    errors: Mapping[str, PredictionError],
    guesses: Sequence[PredictionError],
    best: Sequence[str],
    skill: CurveInterval,
    held_out: HeldOut,
    control_dt: float,
) -> Plain:
    return {
        "horizon": horizon,
        "seconds": horizon * control_dt,
        "running": int(held_out.running[:, horizon - 1].sum()),
        "model": _at(errors["model"].curve, horizon),
        "best_baseline": min(float(guess.curve.value[horizon - 1]) for guess in guesses),
        "best_baseline_name": best[horizon - 1],
        "floor": _at(errors["floor"].curve, horizon),
        "skill": None if None in _at(skill, horizon).values() else _at(skill, horizon),
        "excess": prediction.excess(errors["model"], errors["floor"], horizon),
    }


def _dimensions(rows: Sequence[Record], setup: Plain, held_out: HeldOut) -> list[Plain]:
    """The root mean square error of each number at a few horizons."""
    found: dict[str, FloatArray] = {}
    for h in _shown(held_out.horizon)[-4:]:
        reached = [record["dimensions"][str(h)] for record in rows if str(h) in record["dimensions"]]
        if reached:
            found[str(h)] = np.sqrt(np.mean(np.array(reached, dtype=np.float64), axis=0))
    return [
        {"index": int(index), "label": label, "errors": {h: float(values[place]) for h, values in found.items()}}
        for place, (index, label) in enumerate(setup["labels"].items())
    ]


def _by_behaviour(rows: Sequence[Record], held_out: HeldOut, generator: np.random.Generator) -> list[Plain]:
    """The error at the last horizon for each behaviour: who acts decides how hard the future is."""
    found, horizon = [], held_out.horizon
    for behaviour in sorted({record["behaviour"] for record in rows}):
        chosen = [index for index, record in enumerate(rows) if record["behaviour"] == behaviour]
        running = held_out.running[chosen]
        if running[:, -1].any():
            squares = np.nan_to_num(ragged([rows[index] for index in chosen], "squares", horizon))
            error = _at(root_mean_square_interval(squares, running, generator), horizon)
            found.append({"behaviour": behaviour, "episodes": len(chosen), "horizon": horizon, "error": error})
    return found


def _curve(curve: CurveInterval) -> Plain:
    return {"value": curve.value.tolist(), "low": curve.low.tolist(), "high": curve.high.tolist()}


def _at(curve: CurveInterval, horizon: int) -> dict[str, float | None]:
    found = prediction.at_horizon(curve, horizon).to_dict()
    return {key: value if np.isfinite(value) else None for key, value in found.items()}


SECTION = Section("open_loop", measure, judge)
