"""Gates and verdicts: by the whole interval, worst first."""

from math import inf, nan

import pytest

from wm_gym.evaluation.verdicts import USES, gate, judge_uses


def figure(value, low, high):
    return {"value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.8, 0.9, "PASS"),
        (0.81, 0.9, "PASS"),
        (0.7, 0.79, "FAIL"),
        (0.7, 0.8, "INCONCLUSIVE"),
        (0.7, 0.9, "INCONCLUSIVE"),
    ],
)
def test_a_gate_asks_for_the_whole_interval(low, high, verdict):
    assert gate("spearman", figure(0.8, low, high), at_least=0.8)["verdict"] == verdict
    mirrored = gate("regret", figure(-0.8, -high, -low), at_most=-0.8)
    assert mirrored["verdict"] == verdict


def test_a_gate_with_two_limits():
    verdicts = [gate("sensitivity", figure(v, v, v), 0.9, 1.1)["verdict"] for v in (0.8, 0.9, 1.0, 1.1, 1.2)]
    assert verdicts == ["FAIL", "PASS", "PASS", "PASS", "FAIL"]


def test_a_figure_that_does_not_exist_fails():
    assert gate("spearman", figure(None, None, None), at_least=0.8)["verdict"] == "FAIL"


@pytest.mark.parametrize(
    "entries", [(nan, nan, nan), (inf, 1.0, 2.0), (1.0, 0.9, inf), (1.0, nan, 2.0), (inf, None, None)]
)
def test_what_is_not_finite_does_not_exist(entries):
    found = gate("transfer", figure(*entries), at_least=0.9)
    assert found["verdict"] == "FAIL" and (found["value"], found["low"], found["high"]) == (None, None, None)


def test_a_figure_without_an_interval_is_held_against_the_gate_by_itself():
    assert gate("skill", figure(0.6, None, None), at_least=0.5)["verdict"] == "PASS"


def test_a_use_is_as_good_as_its_worst_gate():
    good = [gate(name, figure(1.0, 1.0, 1.0), at_least=0.5) for name in USES["plan"]]
    assert judge_uses(good)["plan"] == {
        "verdict": "PASS",
        "figure": 1.0,
        "low": 1.0,
        "high": 1.0,
        "gate": 0.5,
        "decided_by": "planning_gap",
        "sense": "at least",
    }
    unsure = [*good[:1], gate("sensitivity", figure(1.0, 0.4, 1.0), at_least=0.5), good[2]]
    assert judge_uses(unsure)["plan"]["verdict"] == "INCONCLUSIVE"
    bad = [*unsure[:2], gate("sign_agreement", figure(0.2, 0.1, 0.3), at_least=0.5)]
    found = judge_uses(bad)["plan"]
    assert found["verdict"] == "FAIL" and found["decided_by"] == "sign_agreement" and found["figure"] == 0.2


def test_a_use_with_a_gate_that_was_not_measured_is_not_tested_unless_another_fails():
    some = [gate("planning_gap", figure(0.0, 0.0, 0.0), at_most=0.2)]
    assert judge_uses(some)["plan"]["verdict"] == "NOT TESTED"
    assert judge_uses(some)["plan"]["figure"] is None
    failed = [gate("planning_gap", figure(0.5, 0.4, 0.6), at_most=0.2)]
    assert judge_uses(failed)["plan"]["verdict"] == "FAIL"
    assert {entry["verdict"] for entry in judge_uses([]).values()} == {"NOT TESTED"}


def test_the_nearer_of_two_limits_is_told():
    high = judge_uses([gate("sensitivity", figure(1.3, 1.2, 1.4), 0.9, 1.1)])["plan"]
    assert (high["gate"], high["sense"]) == (1.1, "at most")
