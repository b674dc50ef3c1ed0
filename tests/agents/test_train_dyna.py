"""``python agents/train_dyna.py`` as a person runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from stable_baselines3 import SAC

from wm_gym.policies.policy import load_policy

PROGRAM = Path(__file__).resolve().parents[2] / "agents" / "train_dyna.py"
TINY = [
    *("task=inverted_pendulum", "steps=150", "warm_up=100", "refit_every=50", "first_fit=20", "refit=10", "width=16"),
    *("imagined=200", "updates_per_step=1", "measure_every=50", "episodes=2"),
]


def run(*arguments):
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_a_robot_is_learnt_from_real_and_imagined_steps(tmp_path):
    output = tmp_path / "agent"
    program = run(*TINY, f"output={output}")
    assert program.returncode == 0, program.stderr
    result = json.loads((output / "result.json").read_text())
    assert [point["steps"] for point in result["curve"]] == [100, 150]
    assert result["real_steps"] == 150 and len(result["physical_returns"]) == 2
    assert (output / "learning.svg").read_text().startswith("<svg")
    assert "real steps" in program.stdout and str(output) in program.stdout.splitlines()[-1]
    action, _ = load_policy(output).predict(SAC.load(output / "sac.zip").observation_space.sample())
    assert action.shape == (1,)
    assert "complete already" in run(*TINY, f"output={output}").stdout
    assert not Path(f"{output}.partial").exists()


@pytest.mark.parametrize("wrong", ["branch=[1]", "steps=0", "episodes=1", "task=walrus"])
def test_bad_input_is_one_line(tmp_path, wrong):
    program = run(*TINY, wrong, f"output={tmp_path / 'agent'}")
    assert program.returncode == 1
    assert len(program.stderr.strip().splitlines()) == 1 and wrong.split("=")[0] in program.stderr
