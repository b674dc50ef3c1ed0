"""The gate's benchmark as a person asks for it, on the shipped arm, with few and short episodes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wm_gym.envs import GateCalibration
from wm_gym.policies.policy import Policy

ROOT = Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, "benchmarks/measure_gate.py", *(str(argument) for argument in arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    """Turns the arm's joints against their speed."""
    weight = torch.zeros(2, 10)
    weight[0, 6] = weight[1, 7] = -0.1
    tensors = {"mean": torch.zeros(10), "scale": torch.ones(10), "low": -torch.ones(2), "high": torch.ones(2)}
    tensors |= {"weight.0": weight, "bias.0": torch.tensor([0.05, -0.05])}
    folder = tmp_path_factory.mktemp("agent")
    Policy(tensors, "tanh", False, {"algorithm": "none"}).save(folder)
    return folder


def test_it_ends_with_a_table_a_picture_and_a_calibration(agent, tmp_path):
    small = ["calibration=15", "unbroken=4", "episodes=2", "steps=20", "false_stop_rate=0.2"]
    done = run("model=reacher", f"agent={agent}", *small, f"output={tmp_path / 'gate'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"benchmark: {tmp_path / 'gate'}"
    assert "none: false stops" in done.stdout and "sensor stuck at its last value" in done.stdout
    assert {path.name for path in (tmp_path / "gate").iterdir()} == {"gate.json", "risk.svg", "result.json"}
    result = json.loads((tmp_path / "gate" / "result.json").read_text())
    assert result["task"] == "reacher" and result["false_stop_rate"] == 0.2 and len(result["table"]) == 12
    by_name = {row["failure"]: row for row in result["table"]}
    assert by_name["none"]["episodes"] == 4 and by_name["sensor not a number"]["found"]["value"] == 1.0
    assert GateCalibration.load(tmp_path / "gate" / "gate.json").threshold == result["threshold"]
    assert "NaN" not in (tmp_path / "gate" / "risk.svg").read_text()


def test_too_few_episodes_are_one_line(agent, tmp_path):
    done = run("model=reacher", f"agent={agent}", "calibration=5", "steps=5", f"output={tmp_path / 'gate'}")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "5 episodes cannot tell a false_stop_rate of 0.05: record about 30" in done.stderr
