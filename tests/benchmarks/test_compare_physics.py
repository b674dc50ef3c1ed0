"""The whole report as a person asks for it: programs run by their command lines, on a tiny model."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from wm_gym.config import load_config
from wm_gym.errors import WorldModelError
from wm_gym.evaluation.judging import NAMES
from wm_gym.physics.tasks import task_spec
from wm_gym.policies.panel import PanelPolicy, write_panel
from wm_gym.policies.policy import Policy
from wm_gym.policies.scripted import write_scripts

ROOT = Path(__file__).parents[2]
TIMES = ("written", "wall_seconds", "cpu_seconds", "commands")
"""Of a report's identity."""


def run(*arguments, timeout=900):
    command = [sys.executable, *(str(argument) for argument in arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data of twelve episodes, a model that has hardly learnt, and an agent that hardly acts."""
    place = tmp_path_factory.mktemp("chain")
    small = ["task=reacher", "num_steps=600", "cameras=[]", "workers=1"]
    tiny = ["updates=20", "batch_size=32", "members=2", "width=16", "layers=1", "longest_horizon=2"]
    for command in (
        ["datasets/collect_episodes.py", *small, f"output={place}/data"],
        ["-m", "wm_gym.train", f"dataset={place}/data", f"output={place}/model", *tiny],
    ):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    tensors = {"mean": torch.zeros(10), "scale": torch.ones(10), "low": -torch.ones(2), "high": torch.ones(2)}
    tensors |= {"weight.0": torch.full((2, 10), 0.01), "bias.0": torch.zeros(2)}
    details = {"algorithm": "ppo", "seed": 0, "world": "imagination", "steps": 10, "model": None}
    Policy(tensors, "tanh", False, details).save(place / "agent" / "policy")
    task = task_spec("reacher", cameras=())
    scripts = write_scripts(task.action_space, task.control_dt, 0)
    write_panel(place / "panel", task, [PanelPolicy(n, "scripted", script, {}) for n, script in scripts.items()])
    return place


def compare(place, output, names):
    """The command that writes a report with these sections."""
    return (
        "benchmarks/compare_physics.py",
        f"model={place}/model",
        f"agent={place}/agent",
        f"panel={place}/panel",
        f"dataset={place}/data",
        f"output={place}/{output}",
        f"sections=[{','.join(names)}]",
        "control=none",
        "quick=true",
        "film=false",
    )


@pytest.fixture(scope="module")
def report(place):
    # The control worlds have a test of their own.
    done = run(*compare(place, "report", [name for name in NAMES if name != "controls"]))
    assert done.returncode == 0, done.stderr
    return done, place / "report", json.loads((place / "report" / "report.json").read_text())


def test_it_ends_with_tables_and_the_path_of_the_page(report):
    done, folder, _ = report
    assert done.stdout.strip().splitlines()[-1] == f"report: {folder / 'report.html'}"
    assert "return per episode" in done.stdout and "random actions" in done.stdout and "rank_policies" in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == [
        "MANIFEST.json",
        "episodes.jsonl",
        "report.html",
        "report.json",
        "result.json",
        "trajectories.parquet",
    ]


def test_every_section_is_measured_judged_and_shown(report):
    _, folder, values = report
    page = (folder / "report.html").read_text()
    assert values["ranking"]["tested"] and values["ranking"]["policies"] == 4
    assert values["speed"]["tested"] and values["uncertainty"]["tested"] and values["reality_gap"]["tested"]
    assert values["controls"] == {"tested": False, "reason": "this section was not asked for"}
    assert "NOT TESTED" in page and "Does it rank policies as MuJoCo does?" in page


def test_figures_can_be_computed_again_from_the_trajectories(report):
    _, folder, values = report
    table = pq.read_table(folder / "trajectories.parquet").to_pandas()
    played = table[table["section"] == "closed_loop"]
    for row in values["closed_loop"]["contenders"]:
        if row["imagined"] is None:
            continue
        for world, key in (("physics", "physical"), ("imagination", "imagined")):
            mine = played[(played["policy"] == row["name"]) & (played["world"] == world)]
            sums = mine.groupby("episode")["reward"].sum().to_numpy()
            assert sums == pytest.approx(row[f"{key}_returns"], rel=1e-4)
            assert sums.mean() == pytest.approx(row[key]["value"], rel=1e-4)
    starts = played[played["step"] == 0].set_index(["policy", "episode", "world"])["observation"].unstack("world")
    assert all(np.allclose(a, b) for a, b in zip(starts["physics"], starts["imagination"], strict=True))


def test_it_says_what_was_judged(report):
    _, _, values = report
    identity = values["identity"]
    assert len(identity["model"]["sha256"]) == 64 and identity["commands"][-1]["command"].startswith(
        "python benchmarks/"
    )
    assert {"torch", "mujoco", "gymnasium"} <= identity["versions"].keys()
    assert len(identity["panel"]["sha256"]) == 64 and "chosen by its return" in identity["panel"]["checkpoints"]
    assert values["data"]["matches_model"] is True and values["data"]["shared_starts"] == 0
    assert values["model_card"]["licence_of_data"]
    assert values["film"]["included"] or values["film"]["reason"]
    assert {p["id"] for p in values["open_loop"]["predictors"]} == {"model", "floor", "persistence", "velocity", "arx"}
    floor = next(p for p in values["open_loop"]["predictors"] if p["id"] == "floor")
    assert max(floor["curve"]["value"]) < 0.1  # the physics against itself, on a robot that forgives
    assert values["open_loop"]["behaviours"].keys() == {"policy", "random", "smooth"}


def test_the_same_seed_gives_the_same_report_but_for_times(place, report):
    _, _, first = report
    done = run(*compare(place, "again", [name for name in NAMES if name != "controls"]))
    assert done.returncode == 0, done.stderr
    second = json.loads((place / "again" / "report.json").read_text())
    assert first["speed"].keys() == second["speed"].keys()
    found = []
    for values in (first, second):
        # The command names the output; all else that differs is time.
        identity = {key: value for key, value in values["identity"].items() if key not in TIMES}
        found.append(values | {"identity": identity, "speed": None})
    assert found[0] == found[1]


def test_a_section_does_not_depend_on_which_others_run(place, report):
    _, _, first = report
    names = ("open_loop", "planning")
    done = run(*compare(place, "two", names))
    assert done.returncode == 0, done.stderr
    second = json.loads((place / "two" / "report.json").read_text())
    for name in names:
        assert second[name] == first[name], name
    assert second["exploit"] == {"tested": False, "reason": "this section was not asked for"}


def test_the_report_follows_from_its_records_and_a_changed_digit_is_caught(place, report):
    _, folder, _ = report
    done = run("benchmarks/check_report.py", f"report={folder}")
    assert done.returncode == 0 and "figures follow from the raw episodes" in done.stdout, done.stderr
    broken = place / "broken"
    shutil.copytree(folder, broken)
    text = (broken / "report.json").read_text()
    found = re.compile(r"\d\.\d{5,}").search(text, text.index('"planning": {'))
    changed = "1" if text[found.end() - 1] != "1" else "2"
    (broken / "report.json").write_text(text[: found.end() - 1] + changed + text[found.end() :])
    done = run("benchmarks/check_report.py", f"report={broken}")
    assert done.returncode == 1 and "differs: planning" in done.stdout
    assert len(done.stderr.strip().splitlines()) == 1 and "2 entries" in done.stderr  # the figure, and the file's hash


def test_two_reports_are_held_against_each_other(place, report):
    _, folder, _ = report
    done = run("benchmarks/check_report.py", f"baseline={folder}", f"candidate={folder}")
    assert done.returncode == 0 and "nothing got worse" in done.stdout, done.stderr
    worse = place / "worse"
    shutil.copytree(folder, worse)
    values = json.loads((worse / "report.json").read_text())
    values["actions"]["sensitivity"] = {"value": 90.0, "low": 80.0, "high": 100.0}
    (worse / "report.json").write_text(json.dumps(values))
    done = run("benchmarks/check_report.py", f"baseline={folder}", f"candidate={worse}")
    assert done.returncode == 1 and "worse" in done.stdout
    assert done.stderr.strip().endswith(f"is worse than {folder}: sensitivity, off 1")
    done = run("benchmarks/check_report.py", f"baseline={folder}")
    assert done.returncode == 1 and "baseline=FOLDER and candidate=FOLDER" in done.stderr


@pytest.fixture(scope="module")
def program():
    """The program as a module, for what need not start a process of its own."""
    spec = importlib.util.spec_from_file_location("compare_physics", ROOT / "benchmarks" / "compare_physics.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["compare_physics"] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["compare_physics"]


@pytest.mark.parametrize(
    ("argument", "word"),
    [
        ("agent={place}/nowhere", "nowhere"),
        ("agent=3", "agent=3"),
        ("dataset={place}/nowhere", "nowhere"),
        ("control=maybe", "committed, run, none"),
        ("panel={place}/nowhere", "nowhere"),
        ("sections=[planing]", "planing"),
        ("episodes=1", "episodes=1"),
        ("episode=5", "unknown setting 'episode'"),
        ("model=nothing", "nothing"),
    ],
)
def test_bad_input_is_named_before_anything_is_written(program, place, argument, word):
    given = [f"model={place}/model", f"output={place}/bad", argument.format(place=place)]
    with pytest.raises(WorldModelError, match=word):
        program.main(load_config(program.Settings, given))
    assert not (place / "bad").exists()


def test_an_error_is_one_line(place):
    done = run("benchmarks/compare_physics.py", "model=nothing", f"output={place}/bad")
    assert done.returncode == 1
    assert "nothing" in done.stderr and len(done.stderr.strip().splitlines()) == 1
