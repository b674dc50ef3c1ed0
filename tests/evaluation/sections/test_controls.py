"""The report can fail: five worlds whose verdict is known come out as they were built."""

from dataclasses import replace

import numpy as np
import pytest

from wm_gym.evaluation import judging
from wm_gym.evaluation.bench import QUICK, Bench
from wm_gym.evaluation.sections import controls
from wm_gym.evaluation.verdicts import FAIL, PASS, USES
from wm_gym.evaluation.worlds import PhysicsWorld
from wm_gym.evaluation.worlds.controls import control_worlds
from wm_gym.physics.tasks import task_spec

NAMES = {"MuJoCo itself", "MuJoCo with noise", "persistence", "shuffled actions", "actions x 0.8"}


@pytest.fixture(scope="module")
def bench():
    task = task_spec("reacher", cameras=())
    physics = PhysicsWorld(task)
    yield Bench(task, physics, physics, replace(QUICK, episodes=6, horizon=12))
    physics.close()


def test_all_five_come_out_as_built(bench, monkeypatch):
    small = replace(controls.SMALL, episodes=6, horizon=12, panel_episodes=2, moments=8, search_samples=6)
    monkeypatch.setattr(controls, "SMALL", small)
    measured = controls.measure(bench)
    found = controls.judge(measured.records, {}, np.random.default_rng(0))
    assert {row["control"] for row in found["table"]} == NAMES
    assert [row["control"] for row in found["table"] if not row["as_built"]] == []
    assert found["as_built"]
    itself = next(row for row in found["table"] if row["built_to_fail"] is None)
    assert set(itself["verdicts"]) == {name for names in USES.values() for name in names} - {"transfer"}


def test_a_control_that_comes_out_otherwise_is_told():
    def record(name, fails, verdict):
        return {"control": name, "fails": fails, "gates": [{"name": "skill", "verdict": verdict}]}

    found = controls.judge([record("a", None, FAIL), record("b", "skill", PASS)], {}, None)
    assert [row["as_built"] for row in found["table"]] == [False, False] and not found["as_built"]
    assert not controls.judge([record("a", "spearman", FAIL)], {}, None)["as_built"], "it must fail its own gate"


@pytest.mark.slow
@pytest.mark.parametrize("number", range(5))
def test_the_whole_report_of_each_control(bench, number):
    """Not the small measurements of the section, but a report as anybody asks for it."""
    control = control_worlds(bench.task, bench.held_out.episodes)[number]
    whole = Bench(bench.task, control.world, bench.physics, QUICK, panel=controls.scripted_panel(bench))
    names = [name for name in judging.NAMES if name not in ("speed", "controls")]
    records, _ = judging.measure(whole, names)
    header = dict.fromkeys(judging.HEADER) | {
        "task": bench.task.to_dict(),
        "settings": QUICK.to_dict(),
        "measured": names,
        "data": {},
        "identity": {"model": {"sha256": None}},
    }
    values = judging.judge(header, records)
    gates = {entry["name"]: entry["verdict"] for name in names for entry in values[name].get("gates", [])}
    if control.fails is None:
        assert set(gates.values()) == {PASS}
        assert {use: entry["verdict"] for use, entry in values["verdicts"].items()} == {
            "rank_policies": PASS,
            "train_policy": "NOT TESTED",
            "plan": PASS,
            "augment_data": PASS,
        }
    else:
        assert gates[control.fails] == FAIL
        use = next(use for use, names in USES.items() if control.fails in names)
        assert values["verdicts"][use]["verdict"] == FAIL
