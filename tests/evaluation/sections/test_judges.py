"""Each section's figures from records that are worked out by hand."""

import numpy as np
import pytest

from wm_gym.evaluation.bench import Bench, ReportConfig
from wm_gym.evaluation.returns import recorded_returns
from wm_gym.evaluation.sections import (
    actions,
    closed_loop,
    exploit,
    planning,
    plausibility,
    ranking,
    reality_gap,
    speed,
    training,
    uncertainty,
)
from wm_gym.evaluation.sections.section import ratio_interval
from wm_gym.evaluation.sections.uncertainty import conformal_coverage


def rng():
    return np.random.default_rng(0)


def test_exploitation_is_a_share_of_what_is_within_reach():
    rows = [{"steps": 5, "imagined": 9.0, "physical": 4.0, "best": 10.0, "random": 0.0} for _ in range(4)]
    found = exploit.judge(rows, {}, rng())
    assert found["exploitation"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert found["shortfall"]["value"] == 0.6
    assert found["gates"][0]["verdict"] == "FAIL"


def test_the_planning_gap_by_hand():
    returns = {"model": [7.0, 5.0], "physics": [9.0, 8.0], "random": [1.0, 2.0]}
    success = {"model": [True, False], "physics": [True, True], "random": [False, False]}
    rows = [
        {"planner": name, "episode": i, "steps": 3, "return": returns[name][i], "success": success[name][i]}
        for name in returns
        for i in range(2)
    ]
    found = planning.judge(rows, {}, rng())
    assert found["gap"]["value"] == pytest.approx(5 / 14)  # (17 - 12) / (17 - 3)
    assert found["success_gap"]["value"] == 0.5


def test_transfer_by_hand():
    inside = [recorded_returns("a", "imagination", np.array([8.0, 8.0]), rng())]
    control = [recorded_returns("b", "control", np.array([6.0, 6.0]), rng())]
    random = [recorded_returns("c", "random", np.array([1.0, 1.0]), rng())]
    assert training.transfer(inside, control, random, rng()).to_dict() == {"value": 1.4, "low": 1.4, "high": 1.4}


def test_a_share_of_no_gain_does_not_exist_and_fails():
    # The whole is -2: the part, a loss of 1, would be a share of one half.
    assert np.isnan(ratio_interval(np.array([-0.5, -0.5]), np.array([-1.0, -1.0]), rng()).value)
    # The whole is 2, but one resample in four draws the second row twice, and has a whole of -6.
    assert np.isnan(ratio_interval(np.array([1.0, 1.0]), np.array([5.0, -3.0]), rng()).value)
    found = ratio_interval(np.array([1.0, 1.0]), np.array([4.0, 2.0]), rng())
    assert (found.value, found.low, found.high) == pytest.approx((1 / 3, 1 / 4, 1 / 2))

    worse = [{"steps": 5, "imagined": 9.0, "physical": 4.0, "best": -1.0, "random": 0.0} for _ in range(4)]
    assert exploit.judge(worse, {}, rng())["gates"][0]["verdict"] == "FAIL"
    shared = {"steps": 3, "success": None}
    rows = [
        shared | {"planner": name, "return": value, "episode": n}
        for name, value in (("model", 5.0), ("physics", 4.0), ("random", 8.0))
        for n in range(2)
    ]
    assert planning.judge(rows, {}, rng())["gates"][0]["verdict"] == "FAIL"
    returns = [[recorded_returns(k, k, np.array([v, v]), rng())] for k, v in (("a", 0.5), ("b", 0.6), ("c", 1.0))]
    assert np.isnan(training.transfer(*returns, rng()).value)


def pulse(moment, motor, model, physics):
    return {"moment": moment, "motor": motor, "model": model, "physics": physics}


def test_effects_by_hand():
    # Two motors at two moments; one number is observed, over two steps.
    pulses = [
        pulse(0, 0, [[0.5], [1.0]], [[1.0], [2.0]]),
        pulse(0, 1, [[-1.0], [0.0]], [[2.0], [2.0]]),
        pulse(1, 0, [[0.5], [1.0]], [[1.0], [2.0]]),
        pulse(1, 1, [[-1.0], [0.0]], [[2.0], [2.0]]),
    ]
    shuffled = [{"episode": n, "horizon": 2, "own": 1.0, "other": 16.0} for n in range(3)]
    found = actions.judge(pulses + shuffled, {}, rng())
    assert found["sensitivity"]["value"] == pytest.approx((0.5 - 2.0) / (1.0 + 4.0))
    assert [row["sensitivity"] for row in found["by_motor"]] == [0.5, -0.5]
    assert found["sign_agreement"]["value"] == 0.5
    assert found["shuffle_gap"]["value"] == 0.75  # an error of 1 instead of 4
    assert found["response"]["physics"] == pytest.approx([np.sqrt(2.5), 2.0])


def test_onset_finds_an_effect_that_comes_late():
    prompt = np.array([[[1.0], [2.0], [3.0]]])
    late = np.array([[[0.0], [2.0], [3.0]]])
    none = np.zeros((1, 3, 1))
    assert [float(actions.onset(effect)[0]) for effect in (prompt, late)] == [0, 1]
    assert np.isnan(actions.onset(none)[0])


def test_conformal_bounds_by_hand():
    # Set by 1, 2, 3, 4 (every other one): the bound of one half is the third, of nine tenths there is none.
    found = conformal_coverage(np.array([1.0, 2.5, 2.0, 3.5, 3.0, 0.5, 4.0, 9.0]))
    assert found["0.5"] == 0.5 and found["0.95"] == 1.0


def test_doubts_tell_wrong_steps_from_right_ones_by_hand():
    # Of each episode the second step is wrong and more doubtful than every right one, whatever is drawn.
    row = {"predictor": "model", "squares": [0.01, 1.0], "uncertainty": [0.1, 0.5]}
    known = {"records": {"open_loop": [row] * 4}, "open_loop": {"horizon": 2}}
    assert uncertainty.judge([], known, rng())["auroc"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_violations_go_beyond_what_mujoco_itself_does():
    def rows(world, values):
        # None: a prediction that was not finite, which keeps to no law.
        spans = [{"limit": v, "penetration": 0.0, "energy": 1.0} for v in values]
        return [{"world": world, "short": spans[0], "whole": span} for span in spans]

    found = plausibility.judge(rows("physics", [0.0, 0.2]) + rows("imagination", [0.2, 0.25, None, 0.0]), {}, rng())
    assert found["limit"]["bound"] == pytest.approx(0.21)
    assert found["limit"]["whole"]["value"] == 0.5 and found["implausible_whole"]["value"] == 0.5
    assert found["implausible"]["value"] == 0.0, "the gate asks about the first steps alone"
    assert found["energy"]["whole"]["value"] == 0.0


def test_what_cannot_be_measured_is_not_called_kept():
    spans = [{"limit": 0.0, "penetration": 0.0}, {"limit": 0.5, "penetration": 0.0}]  # no energy
    rows = [{"world": w, "short": s, "whole": s} for w, s in zip(("physics", "imagination"), spans, strict=True)]
    found = plausibility.judge(rows, {}, rng())
    assert found["energy"] == {"tested": False, "reason": "the observation does not tell the velocities"}
    assert found["implausible"]["value"] == 1.0 and found["penetration"]["whole"]["value"] == 0.0


def test_a_change_of_the_robot_is_paired_with_the_nominal_one():
    def rows(axis, amount, returns):
        shared = {"policy": "a", "kind": "control", "axis": axis, "amount": amount}
        return [shared | {"episode": i, "return": value} for i, value in enumerate(returns)]

    found = reality_gap.judge(rows("nominal", "", [1.0, 5.0]) + rows("mass", "x 2", [0.0, 4.0]), {}, rng())
    assert found["table"][1]["policies"][0]["change"] == {"value": -1.0, "low": -1.0, "high": -1.0}


def test_a_refit_is_judged_by_the_errors_before_and_after():
    rows = [
        {"policy": "a", "kind": "control", "axis": a, "amount": "", "return": 1.0} for a in ("nominal",) for _ in "ab"
    ]
    for name, squares in (("as it was", [1.0, 4.0]), ("refitted", [1.0, 1.0])):
        shared = {"refit": name, "axis": "mass", "amount": "x 2", "steps_learnt": 7}
        rows += [shared | {"squares": squares}, shared | {"squares": squares[:1]}]  # the second ends after one step
    (found,) = reality_gap.judge(rows, {}, rng())["refitted"]["table"]
    assert (found["as_it_was"]["value"], found["refitted"]["value"]) == (2.0, 1.0)
    assert found["steps_learnt"] == 7 and found["horizon"] == 2


def test_nothing_is_refitted_where_nobody_plays(task):
    measured = reality_gap.measure(Bench(task, None, None, ReportConfig()))
    assert measured.records == () and not reality_gap.judge(measured.records, {}, rng())["tested"]


def test_speed_says_where_mujoco_is_faster():
    rows = [{"world": "physics", "batch": 1, "steps": 100, "seconds": 2.0}]
    rows += [{"world": "imagination", "batch": b, "steps": s, "seconds": 1.0} for b, s in ((1, 10), (64, 500))]
    found = speed.judge(rows, {}, rng())
    assert [row["times_physics"] for row in found["table"]] == [1.0, 0.2, 10.0]
    assert found["physics_faster_at"] == [1]


def test_a_panel_that_the_imagination_pays_alike_ranks_nothing():
    rows = [
        {"policy": name, "kind": "scripted", "world": world, "episode": e, "return": value + e if physical else 0.0}
        | {"length": 5, "invalid": False, "supported": None}
        for name, value in (("a", 1.0), ("b", 4.0), ("c", 9.0))
        for world, physical in (("physics", True), ("imagination", False))
        for e in range(4)
    ]
    found = ranking.judge(rows, {}, rng())
    assert found["range"] == 8 and np.isnan(found["spearman"]["value"])
    assert {entry["name"]: entry["verdict"] for entry in found["gates"]}["spearman"] == "FAIL"
    alike = [record | {"return": 1.0} for record in rows]
    assert "the same in MuJoCo" in ranking.judge(alike, {}, rng())["reason"]


def played(policy, world, lengths):
    return [
        {"policy": policy, "kind": "trained", "episode": n, "world": world, "return": float(length), "length": length}
        | {"terminated": True, "invalid": False, "supported": None}
        for n, length in enumerate(lengths)
    ]


def test_untrained_policies_do_not_make_the_ranking_of_trained_ones_easy():
    # The imagination swaps the first two trained policies, 10 apart; over all, four scripts far below hide it.
    lengths = {"a": (100, 110), "b": (110, 100), "c": (120, 120)}
    rows = []
    for name, (real, dream) in lengths.items():
        rows += played(name, "physics", [real] * 2) + played(name, "imagination", [dream] * 2)
    for value in range(4):
        for world in ("physics", "imagination"):
            rows += [row | {"kind": "scripted"} for row in played(f"script{value}", world, [value] * 2)]
    found = ranking.judge(rows, {}, rng())
    alone = found["trained_alone"]
    assert (alone["policies"], alone["range"]) == (3, 20) and alone["spearman"]["value"] == pytest.approx(0.5)
    assert alone["mmrv"]["value"] == pytest.approx((10 + 10 + 0) / 3 / 20) and alone["regret"]["value"] == 0
    assert found["policies"] == 7 and found["spearman"]["value"] > 0.95
    assert {entry["value"] for entry in found["gates"]} >= {found["spearman"]["value"]}
    two = [row for row in rows if row["policy"] != "c"]
    assert not ranking.judge(two, {}, rng())["trained_alone"]["tested"]


def test_interquartile_means_of_both_worlds():
    head = {"contender": "a", "kind": "random", "details": {}}
    rows = [head] + [
        {"contender": "a", "kind": "random", "world": world, "return": value, "length": 1, "invalid": False}
        for world, values in (("physics", [-50.0, 2.0, 4.0, 90.0]), ("imagination", [5.0, 5.0, 5.0, 5.0]))
        for value in values
    ]
    (found,) = closed_loop.entries_of(rows, rng())
    middle = found.details["interquartile_mean"]
    assert middle["physical"]["value"] == 3.0 and middle["physical"]["low"] < 3.0 < middle["physical"]["high"]
    assert middle["imagined"] == {"value": 5.0, "low": 5.0, "high": 5.0}


def test_lengths_correlate_over_policies():
    lengths = {"a": (10, 10), "b": (20, 40), "c": (30, 10)}
    rows = [row for name, (real, dream) in lengths.items() for row in played(name, "physics", [real] * 2)]
    rows += [row for name, (real, dream) in lengths.items() for row in played(name, "imagination", [dream] * 2)]
    assert ranking.judge(rows, {}, rng())["length_pearson"]["value"] == pytest.approx(0.0, abs=1e-12)
    same = [row | {"length": 50} for row in rows]
    assert ranking.judge(same, {}, rng())["length_pearson"] is None
