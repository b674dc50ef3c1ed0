"""Rates, delays and the risk-coverage curve of a gate, worked by hand on the point mass."""

import dataclasses

import numpy as np
import pytest

from wm_gym.envs import GateCalibration
from wm_gym.evaluation.failures import Failure, Run
from wm_gym.evaluation.gate_benchmark import measure_gate, risk_coverage, share_interval
from wm_gym.evaluation.gate_chart import draw_risk
from wm_gym.types import Episode


def test_an_exact_interval_of_a_share():
    none, some = share_interval(0, 10), share_interval(3, 10)
    assert (none.value, none.low) == (0.0, 0.0) and none.high == pytest.approx(0.3085, abs=1e-4)
    assert (some.low, some.high) == pytest.approx((0.0667, 0.6525), abs=1e-4)
    assert share_interval(10, 10).high == 1.0 and np.isnan(share_interval(0, 0).value)


def test_risk_is_the_mean_error_of_the_least_suspicious_steps():
    scores = np.concatenate([np.linspace(0, 1, 50), np.full(50, np.inf)])
    errors = np.concatenate([np.zeros(50), np.ones(50)])
    found = risk_coverage(scores, errors, 1.0)
    risk = dict(zip(found["share"], found["risk"], strict=True))
    assert risk[0.5] == 0.0 and risk[1.0] == 0.5 and risk[0.8] == pytest.approx(0.3 / 0.8)
    assert found["gate"] == {"share": 0.5, "risk": 0.0} and found["all"] == 0.5
    assert found["area"] == pytest.approx(found["best_area"])
    worst = risk_coverage(-np.nan_to_num(scores, posinf=2.0), errors, -1.5)
    assert worst["gate"] == {"share": 0.5, "risk": 1.0} and worst["area"] > found["area"]


@pytest.fixture
def gate():
    """Usual errors of 0.01: an error of 0.1 in one number scores 10 / sqrt(0.1 + spread^2)."""
    return GateCalibration(None, (0.01, 0.01), (0.0, 0.0), (100.0, 100.0), 1.0, (1.0, 1.0, 1e9), 20.0, 0.05, 40, 5)


def leap(at, steps=5, x=0.0):
    """Still, but for one reading of v that is off by 0.1 (31.6 units of the gate) at observation ``at``."""
    observations = np.zeros((steps + 1, 2), np.float32)
    observations[:, 0] = x
    if at is not None:
        observations[at, 1] = 0.1
    actions, rewards = np.zeros((steps, 1), np.float32), np.zeros(steps, np.float32)
    return Episode(observations, actions, rewards, False, True, 0.1)


def test_false_stops_detections_and_delays(point_mass, gate):
    errors = np.full(5, 0.2)
    broken = [
        Run(leap(2), 2, errors),  # at once
        Run(leap(4), 2, errors),  # two steps late
        Run(leap(None), 2, errors),  # missed
        Run(leap(1), 3, errors),  # stopped before anything broke
        Run(leap(None), 9, errors),  # over before it broke
    ]
    unbroken = [Run(leap(None), 9, np.zeros(5))] * 3 + [Run(leap(3), 9, np.zeros(5))]
    values = measure_gate(point_mass, gate, [(Failure("none"), unbroken), (Failure("leap", "0.1"), broken)])
    none, found = values["table"]
    assert none["stopped"]["value"] == 0.25 and none["episodes"] == 4
    assert found["counted"] == 3 and found["found"]["value"] == pytest.approx(2 / 3)
    assert found["delay_steps"]["median"] == 1.0 and found["delay_seconds"]["median"] == pytest.approx(0.1)
    assert found["reasons"] == {"jump": 3} and found["blamed"] == ["1"]
    assert found["error_after_onset"] == pytest.approx(0.2)
    assert values["calibrated_on"] == {"episodes": 40, "steps": 5}
    picture = draw_risk(values["risk_coverage"], "point mass")
    assert picture.startswith("<svg") and "share of the steps let through" in picture and "threshold" in picture


def test_a_failure_that_never_struck_has_no_rate(point_mass, gate):
    values = measure_gate(point_mass, gate, [(Failure("late"), [Run(leap(None), 9, np.zeros(5))])])
    (row,) = values["table"]
    assert row["counted"] == 0 and row["found"] is None and row["delay_steps"] == {"median": None, "late": None}


def test_a_reading_that_is_no_number_is_found_at_once(point_mass, gate):
    episode = leap(None, steps=3)
    observations = episode.observations.copy()
    observations[3, 0] = np.nan
    run = Run(dataclasses.replace(episode, observations=observations), 3, np.array([0.0, 0.0, 10.0]))
    (row,) = measure_gate(point_mass, gate, [(Failure("sensor not a number"), [run])])["table"]
    assert row["found"]["value"] == 1.0 and row["reasons"] == {"not finite": 1} and row["blamed"] == ["0"]
