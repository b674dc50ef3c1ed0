"""A report's folder: what it says follows from what was measured, to the last digit."""

import json
import re

import pytest

from wm_gym.errors import DataError
from wm_gym.evaluation import judging
from wm_gym.evaluation.regression import compare_reports, differing_conditions, worse_verdicts
from wm_gym.evaluation.report_folder import (
    count_figures,
    differences,
    read_report,
    recompute,
    repeatable_digest,
    write_report,
)
from wm_gym.files import file_hash


@pytest.fixture
def folder(small_report, tmp_path):
    write_report(tmp_path / "report", small_report.values, small_report.records, small_report.kept, None)
    return tmp_path / "report"


def test_every_figure_follows_from_the_raw_records(folder):
    assert recompute(folder) == []
    assert count_figures(read_report(folder)) > 500
    assert sorted(path.name for path in folder.iterdir()) == [
        "MANIFEST.json",
        "episodes.jsonl",
        "report.html",
        "report.json",
        "result.json",
        "trajectories.parquet",
    ]


def test_the_summary_repeats_the_gates(folder, small_report):
    summary = json.loads((folder / "result.json").read_text())
    assert summary["gates"]["sensitivity"] in small_report.values["actions"]["gates"]
    assert summary["panel"] == 4 and summary["gates"]["spearman"] in small_report.values["ranking"]["gates"]


def test_the_same_records_are_judged_alike(small_report):
    assert judging.judge(small_report.header, small_report.records) == small_report.values


def test_the_keys_that_others_read(small_report):
    values = small_report.values
    assert values["verdicts"].keys() == {"rank_policies", "train_policy", "plan", "augment_data"}
    for entry in values["verdicts"].values():
        assert {"verdict", "figure", "low", "high", "gate"} <= entry.keys()
    assert values["ranking"]["policies"] == 4
    for name in ("pearson", "spearman", "kendall", "mmrv", "regret", "bias"):
        assert values["ranking"][name].keys() == {"value", "low", "high"}
    for section in judging.NAMES:
        assert isinstance(values[section]["tested"], bool)
    assert values["speed"] == {"tested": False, "reason": "this section was not asked for"}


def test_weak_motors_are_found_out(small_report):
    gates = {entry["name"]: entry for entry in small_report.values["actions"]["gates"]}
    assert gates["sensitivity"]["verdict"] == "FAIL" and gates["sensitivity"]["value"] == pytest.approx(0.8, abs=0.01)
    assert gates["sign_agreement"]["verdict"] == "PASS"
    assert small_report.values["verdicts"]["plan"]["decided_by"] == "sensitivity"


@pytest.mark.parametrize(
    "section", ["ranking", "open_loop", "closed_loop", "exploit", "actions", "planning", "reality_gap"]
)
def test_a_single_changed_digit_of_a_figure_is_caught(folder, section):
    path = folder / "report.json"
    text = path.read_text()
    found = re.compile(r"\d\.\d{5,}").search(text, text.index(f'"{section}": {{'))
    digit = text[found.end() - 1]
    path.write_text(text[: found.end() - 1] + ("1" if digit != "1" else "2") + text[found.end() :])
    changed, figure = recompute(folder)
    assert "report.json: changed" in changed and figure.startswith(section)


@pytest.mark.parametrize(
    ("file", "before"),
    [
        ("report.json", '"identity": '),
        ("report.json", '"camera": '),
        ("report.json", '"data": '),
        ("report.html", "<td"),
        ("result.json", '"valid_time": '),
        ("result.json", '"wall_seconds": '),
        ("episodes.jsonl", '"seed": '),
    ],
)
def test_a_single_changed_digit_of_any_file_is_caught(folder, file, before):
    text = (folder / file).read_text()
    place = re.compile(r"\d").search(text, text.index(before)).start()
    (folder / file).write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
    assert f"{file}: changed since it was written" in recompute(folder)[0]


def test_a_summary_with_a_manifest_of_its_own_is_caught(folder):
    """Whoever changes a file can change its hash as well: the summary must follow from the records too."""
    summary, manifest = (json.loads((folder / name).read_text()) for name in ("result.json", "MANIFEST.json"))
    summary["panel"] = 5
    (folder / "result.json").write_text(json.dumps(summary))
    manifest["files"]["result.json"] = file_hash(folder / "result.json")
    (folder / "MANIFEST.json").write_text(json.dumps(manifest))
    assert recompute(folder) == ["result.json: panel: 5 is stated, 4 follows"]


def test_a_missing_file_is_named(folder):
    (folder / "trajectories.parquet").unlink()
    assert "trajectories.parquet: missing" in recompute(folder)[0]


def test_speed_leaves_the_hash_of_the_records_alone():
    records = [{"section": "planning", "return": 1.0}, {"section": "speed", "seconds": 1.0}]
    slower = [records[0], {"section": "speed", "seconds": 2.0}]
    other = [{"section": "planning", "return": 2.0}, records[1]]
    assert repeatable_digest(records) == repeatable_digest(slower) != repeatable_digest(other)


def test_a_single_changed_digit_of_a_raw_record_is_caught(folder):
    path = folder / "episodes.jsonl"
    text = path.read_text()
    place = text.index('"return": -') + len('"return": -')
    path.write_text(text[:place] + ("1" if text[place] != "1" else "2") + text[place + 1 :])
    found = recompute(folder)
    assert "episodes.jsonl: changed" in found[0]
    assert any(difference.startswith("episodes_sha256") for difference in found) and len(found) > 2


def test_a_section_left_out_is_caught(folder):
    path = folder / "report.json"
    values = json.loads(path.read_text())
    del values["planning"]
    path.write_text(json.dumps(values))
    assert any(difference.startswith("planning") for difference in recompute(folder))


def test_damage_is_named(folder):
    (folder / "episodes.jsonl").write_text('{"section": "planning"}\n')
    with pytest.raises(DataError, match="cannot be computed"):
        recompute(folder)
    (folder / "report.json").write_text('{"schema_version": 1}')
    with pytest.raises(DataError, match="schema 1"):
        read_report(folder)


def test_differences_are_named_by_their_place():
    one, other = {"a": [1, {"b": 2.0}], "c": None}, {"a": [1, {"b": 3.0}], "d": 1}
    assert [place for place, _, _ in differences(one, other)] == ["a[1].b", "c", "d"]
    assert list(differences({"a": 1}, {"a": 1.0}))  # a whole number is not a measured one


@pytest.mark.parametrize(
    ("section", "figure", "before", "after", "worse"),
    [
        # Off by 0.1 to 0.2 before; then by 0.3 to 0.4 on the other side, by 0 to 0.2, by 0.15 to 0.25.
        ("actions", "sensitivity", (0.8, 0.85, 0.9), (1.3, 1.35, 1.4), ["sensitivity, off 1"]),
        ("actions", "sensitivity", (0.8, 0.85, 0.9), (0.9, 1.0, 1.2), []),
        ("actions", "sensitivity", (0.8, 0.85, 0.9), (1.15, 1.2, 1.25), []),
        ("ranking", "bias", (-1.0, 0.0, 1.0), (-3.0, -2.5, -2.0), ["bias, off 0"]),
        ("ranking", "bias", (-3.0, -2.5, -2.0), (-1.0, 0.0, 1.0), []),
        ("planning", "success_gap", (0.0, 0.1, 0.2), (0.3, 0.4, 0.5), ["success lost by planning"]),
        ("open_loop", "valid_time", (20, 25, 30), (10, 15, 19), ["valid time (steps)"]),
    ],
)
def test_each_figure_has_its_better_side(small_report, section, figure, before, after, worse):
    old, new = (json.loads(json.dumps(small_report.values)) for _ in range(2))
    for values, (low, value, high) in ((old, before), (new, after)):
        values[section][figure] = {"steps" if figure == "valid_time" else "value": value, "low": low, "high": high}
    assert [row.name for row in compare_reports(old, new) if row.worse] == worse


def test_what_else_differs_is_told(small_report):
    other = json.loads(json.dumps(small_report.values))
    other["settings"]["episodes"] = 7
    other["identity"]["panel"] = {"sha256": "ef" * 32}
    assert differing_conditions(small_report.values, small_report.values) == []
    assert differing_conditions(small_report.values, other) == [
        "episodes was 6 and is 7",
        "the panels hold different policies",
    ]


def test_a_report_is_not_worse_than_itself(small_report):
    compared = compare_reports(small_report.values, small_report.values)
    assert len(compared) >= 10 and not any(row.worse for row in compared)
    assert worse_verdicts(small_report.values, small_report.values) == []


def test_what_got_worse_is_named(small_report):
    worse = json.loads(json.dumps(small_report.values))
    worse["actions"]["sign_agreement"] = {"value": 0.2, "low": 0.1, "high": 0.3}
    worse["physics"]["implausible"] = {"value": 0.9, "low": 0.8, "high": 1.0}
    worse["verdicts"]["augment_data"]["verdict"] = "NOT TESTED"
    before = json.loads(json.dumps(small_report.values))
    before["verdicts"]["augment_data"]["verdict"] = "PASS"
    assert [row.name for row in compare_reports(before, worse) if row.worse] == [
        "sign agreement",
        "implausible episodes",
    ]
    assert not any(row.worse for row in compare_reports(worse, before)), "better is not worse"
    del worse["planning"]["gap"]
    assert [row.name for row in compare_reports(before, worse) if row.candidate is None] == ["planning gap"]
    assert [row.name for row in compare_reports(before, worse) if row.worse][-1] == "planning gap", (
        "what is gone is worse"
    )
    assert not any(row.name == "planning gap" for row in compare_reports(worse, before)), "what is new is not"
    assert worse_verdicts(before, worse) == ["augment_data: PASS became NOT TESTED"]
    worse["task"]["name"] = "hopper"
    with pytest.raises(DataError, match="hopper"):
        compare_reports(before, worse)
