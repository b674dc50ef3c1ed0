"""A policy that has only ever dreamt works in MuJoCo. Slow: it really learns."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "agents" / "train_agent.py"


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_the_shipped_reacher_trains_a_policy_for_mujoco(tmp_path, algorithm):
    """A seed that no published figure uses; random actions return about -43, standing still about -12."""
    steps = {"ppo": 1_000_000, "sac": 100_000}[algorithm]
    output = tmp_path / "agent"
    command = [sys.executable, str(PROGRAM), "model=reacher", f"algorithm={algorithm}", f"steps={steps}", "seed=77"]
    done = subprocess.run([*command, f"output={output}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    trial = json.loads((output / "result.json").read_text())["trial"][algorithm]
    assert trial["physical"]["low"] > -6.5
    assert abs(trial["gap"]["value"]) < 2
