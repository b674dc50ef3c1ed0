"""The throughput benchmark as a person asks for it, with a little of everything."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(program, *arguments):
    command = [sys.executable, f"benchmarks/{program}.py", *(str(argument) for argument in arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_it_ends_with_a_table_ratios_and_a_picture(tmp_path):
    done = run("measure_throughput", "model=hopper", "quick=true", "threads=1", f"output={tmp_path / 'speed'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"benchmark: {tmp_path / 'speed'}"
    result = json.loads((tmp_path / "speed" / "result.json").read_text())
    assert result["task"] == "hopper" and result["quick"] and result["threads"] == 1
    assert result["mbrl"] == result["camera"] == "NOT MEASURED" and done.stdout.count("NOT MEASURED") >= 1
    timed = {(figure["name"], figure["rows"]) for figure in result["batches"]}
    faces = {"gym.make_vec", "gym.make_vec, omit", "stable-baselines3", "mujoco.rollout", "mujoco.batch"}
    if importlib.util.find_spec("envpool"):
        faces.add("EnvPool")
    assert timed == {("gym.make", 1), *((name, rows) for name in faces for rows in (1, 8))}
    assert {figure["name"] for figure in result["physics"]} == {"MuJoCo, make_vec sync", "MuJoCo, make_vec async"}
    assert all(ratio > 0 for ratio in result["ratios"].values()) and "mujoco.rollout" in result["ratios"]
    assert result["imports"]["import wm_gym"] > 0 and 0 < result["fraction"] < 1
    assert "NaN" not in (tmp_path / "speed" / "throughput.svg").read_text()


def test_what_cannot_be_timed_is_one_line(tmp_path):
    for setting, said in (("mbrl=nowhere/python", "no such Python"), ("threads=-1", "zero or more")):
        done = run("measure_throughput", "model=hopper", setting, f"output={tmp_path / 'speed'}")
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr


def test_the_rival_says_where_it_lives(tmp_path):
    done = run("time_mbrl", f"output={tmp_path / 'rival'}")
    assert done.returncode == 1 and "fit_mbrl.py says how to install it" in done.stderr
