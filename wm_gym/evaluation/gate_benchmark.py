"""How a safety gate does on a robot that breaks: what it stops for nothing, finds, how soon, and what it lets by.

The unit is the episode: a gate that has raised its alarm stays closed. A failure counts as found where the first alarm
comes at or after its onset and before the episode ends; episodes stopped before the onset, or ended before it, are
left out and counted. Rates have exact intervals (Clopper and Pearson 1934, "The use of confidence or fiducial limits").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import beta

from wm_gym.envs import GateCalibration
from wm_gym.evaluation.failures import Failure, Run
from wm_gym.evaluation.labels import number_label
from wm_gym.evaluation.statistics import LEVEL, Interval
from wm_gym.models import TrainedModel
from wm_gym.types import FloatArray

SHARES = tuple(np.linspace(0.02, 1.0, 50).round(2).tolist())
"""Shares of the steps let through at which the risk is shown."""


def measure_gate(
    trained: TrainedModel, calibration: GateCalibration, cases: Sequence[tuple[Failure, Sequence[Run]]]
) -> dict[str, Any]:
    """Everything that is measured, as plain values.

    Args:
        trained: the model that the gate asks.
        calibration: of the gate.
        cases: each failure with its episodes; the unbroken robot, ``none``, is one of them.
    """
    dt = trained.task.control_dt
    scores: list[FloatArray] = []
    errors: list[FloatArray] = []
    rows = []
    for failure, runs in cases:
        judged = [calibration.judge(trained, run.episode.observations, run.episode.actions) for run in runs]
        alarms = [np.flatnonzero(found.score > calibration.threshold) for found in judged]
        first = [int(found[0]) if len(found) else None for found in alarms]
        raised = [(found, at) for found, at in zip(judged, first, strict=True) if at is not None]
        blamed = Counter(int(found.dimension[at]) for found, at in raised)
        rows.append(
            {
                "failure": failure.name,
                "amount": failure.amount,
                "episodes": len(runs),
                "reasons": dict(Counter(found.reason(at) for found, at in raised)),
                "blamed": [number_label(at, trained.task.observation_map) for at, _ in blamed.most_common(3)],
                **(_found(runs, first, dt) if failure.name != "none" else _false_stops(first)),
            }
        )
        scores += [found.score[1:] for found in judged]
        errors += [run.errors for run in runs]
    return {
        "control_dt": dt,
        "false_stop_rate": calibration.false_stop_rate,
        "threshold": calibration.threshold,
        "calibrated_on": {"episodes": calibration.episodes, "steps": calibration.steps},
        "table": rows,
        "risk_coverage": risk_coverage(np.concatenate(scores), np.concatenate(errors), calibration.threshold),
    }


def risk_coverage(scores: FloatArray, errors: FloatArray, threshold: float) -> dict[str, Any]:
    """The mean error of what is let through, the least suspicious steps first.

    Geifman and El-Yaniv 2017, "Selective classification for deep neural networks". ``area`` is the mean risk over the
    shares; ``best`` knows the errors themselves, and letting steps through at random gives ``all`` at every share.

    Args:
        scores: (N,) of each step; infinite ones are the most suspicious.
        errors: (N,) nRMSE between what was shown and what the unbroken robot would have shown.
        threshold: of the gate: where on the curve it lies.
    """
    order, best = np.argsort(scores, kind="stable"), np.sort(errors)
    counts = np.maximum(1, np.round(np.array(SHARES) * len(scores))).astype(int)
    ranked = (np.cumsum(errors[order]) / np.arange(1, len(errors) + 1))[counts - 1]
    ideal = (np.cumsum(best) / np.arange(1, len(errors) + 1))[counts - 1]
    passed = scores <= threshold
    return {
        "unit": "nRMSE of what was shown against the unbroken robot from the same state",
        "share": list(SHARES),
        "risk": ranked.tolist(),
        "best": ideal.tolist(),
        "all": float(errors.mean()),
        "area": float(ranked.mean()),
        "best_area": float(ideal.mean()),
        "gate": {"share": float(passed.mean()), "risk": float(errors[passed].mean()) if passed.any() else 0.0},
    }


def share_interval(hits: int, count: int) -> Interval:
    """A share of ``count`` independent episodes and its exact 95 % interval; all NaN of none."""
    if count == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    tail = (1 - LEVEL) / 2
    low = float(beta.ppf(tail, hits, count - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, count - hits)) if hits < count else 1.0
    return Interval(hits / count, low, high)


def _false_stops(first: Sequence[int | None]) -> Mapping[str, Any]:
    return {"stopped": share_interval(sum(at is not None for at in first), len(first)).to_dict()}


def _found(runs: Sequence[Run], first: Sequence[int | None], dt: float) -> Mapping[str, Any]:
    """Detection and delay, and how large the failure is at all for a perfect model of the unbroken robot."""
    struck = [
        (run, at)
        for run, at in zip(runs, first, strict=True)
        if run.onset <= len(run.episode) and (at is None or at >= run.onset)
    ]
    delays = [at - run.onset for run, at in struck if at is not None]
    after = np.concatenate([run.errors[run.onset - 1 :] for run, _ in struck]) if struck else np.zeros(0)
    share = share_interval(len(delays), len(struck))
    steps = {name: float(np.percentile(delays, q)) if delays else None for name, q in (("median", 50), ("late", 90))}
    return {
        "counted": len(struck),
        "found": share.to_dict() if struck else None,
        "delay_steps": steps,
        "delay_seconds": {name: None if value is None else value * dt for name, value in steps.items()},
        "error_after_onset": float(after.mean()) if len(after) else None,
    }
