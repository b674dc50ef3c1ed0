"""Who is first at a return, from small agents and from learning curves with known answers."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def program(monkeypatch):
    spec = importlib.util.spec_from_file_location("race_to_return", ROOT / "benchmarks" / "race_to_return.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "race_to_return", module)
    spec.loader.exec_module(module)
    return module


def agent(*returns, trial):
    curve = [{"steps": 100.0, "seconds": 10.0 * (k + 1), "return": value} for k, value in enumerate(returns)]
    return {"curve": curve, "training_seconds": 99.0, "trial": {"ppo": {"physical": {"value": trial}}}}


@pytest.mark.parametrize(
    ("physical", "seconds"),
    [
        (agent(-9.0, -5.0, -4.0, trial=-3.0), 20.0),
        (agent(-9.0, -8.0, trial=-5.0), 99.0),  # exploration hid it until the trial
        (agent(-9.0, -8.0, trial=-5.1), None),
    ],
)
def test_mujoco_is_there_when_its_last_hundred_episodes_are(program, physical, seconds):
    assert program.reached(physical, -5.0) == seconds


def run(*arguments):
    command = [sys.executable, "benchmarks/race_to_return.py", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("left", ["", ".partial", ".staging"])
def test_what_was_cut_off_is_not_timed(program, tmp_path, left):
    (tmp_path / f"data{left}").mkdir()
    with pytest.raises(program.ConfigError, match=f"data{left} was interrupted"):
        program.timed(["never.py"], tmp_path / "data")


def test_a_finished_part_tells_what_it_took(program, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(program, "run", lambda command, output: ran.append(command))
    assert program.timed(["a.py", "x=1"], tmp_path / "data") == program.timed(["a.py", "x=1"], tmp_path / "data")
    assert ran == [["a.py", "x=1"]]


@pytest.mark.slow
def test_a_small_race_is_run_once(tmp_path):
    small = ("task=reacher", "num_steps=1000", "updates=10", "imagined=2000", "physical=200", "num_envs=2")
    small += ("settings={n_steps: 50, batch_size: 50}", f"output={tmp_path / 'race'}")
    done = run(*small)
    assert done.returncode == 0, done.stderr
    assert "through imagination (recording" in done.stdout and done.stdout.rstrip().endswith(f"{tmp_path / 'race'}")
    result = json.loads((tmp_path / "race" / "result.json").read_text())
    (found,) = result["races"]
    assert set(found["seconds"]) == {"recording", "fitting", "learning"} and min(found["seconds"].values()) > 0
    place = tmp_path / "race" / "seed_0"
    for setting, words in (("updates=11", "was made by '-m wm_gym.train"), (None, "model was interrupted")):
        if setting is None:
            (place / "model.seconds.json").unlink()
        again = run(*small, *([setting] if setting else []))
        assert again.returncode == 1 and words in again.stderr and "Traceback" not in again.stderr
