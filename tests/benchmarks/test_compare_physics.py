"""The whole report as a person asks for it: programs run by their command lines, on a tiny model."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from wm_gym.config import load_config
from wm_gym.errors import WorldModelError
from wm_gym.policies.policy import Policy

ROOT = Path(__file__).parents[2]


def run(*arguments, timeout=300):
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
    return place


@pytest.fixture(scope="module")
def report(place):
    done = run(
        "benchmarks/compare_physics.py",
        f"model={place}/model",
        f"agent={place}/agent",
        f"dataset={place}/data",
        f"output={place}/report",
        "control=none",
        "quick=true",
    )
    assert done.returncode == 0, done.stderr
    return done, place / "report", json.loads((place / "report" / "report.json").read_text())


def test_it_ends_with_a_table_and_the_path_of_the_page(report):
    done, folder, _ = report
    assert done.stdout.strip().splitlines()[-1] == f"report: {folder / 'report.html'}"
    assert "return per episode" in done.stdout and "random actions" in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == [
        "report.html",
        "report.json",
        "result.json",
        "trajectories.parquet",
    ]


def test_figures_can_be_computed_again_from_the_trajectories(report):
    _, folder, values = report
    table = pq.read_table(folder / "trajectories.parquet").to_pandas()
    played = table[table["section"] == "returns"]
    for row in values["returns"]["contenders"]:
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
    assert values["data"]["matches_model"] is True and values["data"]["shared_starts"] == 0
    assert values["film"]["included"] or values["film"]["reason"]
    assert {p["id"] for p in values["open_loop"]["predictors"]} == {"model", "floor", "persistence", "velocity", "arx"}
    floor = next(p for p in values["open_loop"]["predictors"] if p["id"] == "floor")
    assert max(floor["curve"]["value"]) < 0.1  # the physics against itself, on a robot that forgives
    assert values["open_loop"]["behaviours"] == {"policy": 6, "random": 7, "smooth": 7}


def test_the_same_seed_gives_the_same_figures(place, report):
    _, _, first = report
    again = ["control=none", "quick=true", "film=false", f"output={place}/again"]
    done = run(
        "benchmarks/compare_physics.py", f"model={place}/model", f"agent={place}/agent", f"dataset={place}/data", *again
    )
    assert done.returncode == 0, done.stderr
    second = json.loads((place / "again" / "report.json").read_text())
    assert second["returns"] == first["returns"]
    assert second["open_loop"] == first["open_loop"]


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
