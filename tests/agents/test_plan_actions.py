"""The planner as a person calls it."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wm_gym.config import load_config
from wm_gym.errors import WorldModelError

ROOT = Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, "agents/plan_actions.py", *(str(argument) for argument in arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("where", [["model=reacher"], ["world=physics", "task=reacher"]], ids=["imagined", "physical"])
def test_it_plans_acts_and_writes_what_it_earned(tmp_path, where):
    small = ["episodes=2", "steps=4", "planner.samples=4", "planner.elites=2", "planner.horizon=3"]
    done = run(*where, *small, f"output={tmp_path}/plan")
    assert done.returncode == 0, done.stderr
    assert "success" in done.stdout and done.stdout.strip().splitlines()[-1] == f"plan: {tmp_path}/plan"
    result = json.loads((tmp_path / "plan" / "result.json").read_text())
    assert len(result["returns"]) == 2 and result["steps"] == 4
    assert result["return"]["low"] <= result["return"]["value"] <= result["return"]["high"]


@pytest.fixture(scope="module")
def program():
    """The program as a module, for what need not start a process of its own."""
    spec = importlib.util.spec_from_file_location("plan_actions", ROOT / "agents" / "plan_actions.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["plan_actions"] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["plan_actions"]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (["world=physics"], "task=... must be given"),
        ([], "model=... must be given"),
        (["world=dreams"], "one of imagination, physics"),
        (["model=reacher", "planner.method=guess"], "one of cem, mppi"),
        (["model=reacher", "episodes=1"], "episodes=1"),
    ],
)
def test_bad_input_is_named_before_anything_is_written(program, tmp_path, given, word):
    with pytest.raises(WorldModelError, match=word):
        program.main(load_config(program.Settings, [*given, f"output={tmp_path}/plan"]))
    assert not (tmp_path / "plan").exists()


def test_an_error_is_one_line(tmp_path):
    done = run("world=physics", f"output={tmp_path}/plan")
    assert done.returncode == 1 and "task=..." in done.stderr and len(done.stderr.strip().splitlines()) == 1
