"""Cautions follow from the figures."""

import copy

import pytest

from wm_gym.evaluation.cautions import cautions


@pytest.fixture
def values(small_report):
    return copy.deepcopy(small_report.values)


def test_each_fault_has_its_sentence(values):
    row = values["closed_loop"]["contenders"][0]
    row["gap"] = {"value": 90.0, "low": 80.0, "high": 100.0}
    row["imagined_length"] = 65.0
    row["details"]["model_sha256"] = "another"
    values["data"] |= {"matches_model": False, "shared_starts": 3}
    values["ranking"]["bias"] = {"value": 50.0, "low": 40.0, "high": 60.0}
    for policy in values["ranking"]["panel"]:
        policy["imagined_length"] = 1.3 * policy["physical_length"]
        policy["supported"] = 0.1
    values["exploit"]["exploitation"] = {"value": 0.5, "low": 0.4, "high": 0.6}
    values["speed"] = {"tested": True, "physics_faster_at": [1, 64]}
    values["controls"] = {"tested": True, "table": [{"control": "persistence", "as_built": False}]}
    found = cautions(values)
    assert found[0].startswith("Believe no verdict of this report: the control persistence")
    text = "\n".join(found)
    for expected in (
        "promises 90.0 more",
        "end 30% later",
        "Over the panel the imagination promises 50.0 more",
        "Over the panel, imagined episodes end 30% later",
        "4 of 4 policies spend most of their time in MuJoCo outside",
        "hashes differ",
        "a leak",
        "Only 4 policies were ranked",
        "trained in another world model",
        "50% of what is within reach",
        "One training seed only",
    ):
        assert expected in text
    assert "faster" not in text, "a speed differs from run to run"


def test_a_share_of_no_gain_has_its_sentence(values):
    nothing = {"value": None, "low": None, "high": None}
    values["training"] = {"tested": True, "transfer": nothing}
    values["planning"]["gap"] = values["exploit"]["exploitation"] = nothing
    text = "\n".join(cautions(values))
    for expected in ("Training in MuJoCo gained nothing", "Planning in MuJoCo gained nothing", "nothing is within"):
        assert expected in text


def test_a_section_that_did_not_run_needs_no_caution(values):
    for name in ("ranking", "training", "exploit", "planning", "open_loop", "robustness", "closed_loop"):
        values[name] = {"tested": False, "reason": "not asked for"}
    assert cautions(values) == []
