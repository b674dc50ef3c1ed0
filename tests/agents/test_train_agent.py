"""``python agents/train_agent.py`` as a person runs it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wm_gym.policies import load_policy

PROGRAM = Path(__file__).resolve().parents[2] / "agents" / "train_agent.py"
QUICK = ["num_envs=8", "settings={n_steps:16,batch_size:64,n_epochs:1}", "episodes=3", "threads=1"]


def run(*arguments):
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_an_agent_from_imagination_is_tried_in_both_worlds(tmp_path):
    output = tmp_path / "agent"
    done = run("model=reacher", "algorithm=ppo", "steps=256", "seed=3", f"output={output}", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "MuJoCo" in done.stdout and f"agent: {output}" in done.stdout
    result = json.loads((output / "result.json").read_text())
    assert result["world"] == "imagination" and result["real_steps"] == 100_000 and result["seed"] == 3
    trial = result["trial"]["ppo"]
    assert len(trial["physical_returns"]) == 3
    assert trial["physical"]["value"] == pytest.approx(np.mean(trial["physical_returns"]), abs=1e-3)
    assert trial["gap"]["value"] == pytest.approx(trial["imagined"]["value"] - trial["physical"]["value"], abs=1e-3)
    assert load_policy(output).predict(np.zeros((4, 10), np.float32))[0].shape == (4, 2)
    again = run("model=reacher", "algorithm=ppo", "steps=256", "seed=3", f"output={output}", *QUICK)
    assert again.returncode == 0 and "complete already" in again.stdout
    other = run("model=reacher", "algorithm=ppo", "steps=256", "seed=4", f"output={output}", *QUICK)
    assert other.returncode == 1 and "holds another agent" in other.stderr


def test_a_control_is_trained_in_the_physics(tmp_path):
    short = ["steps=100", "settings={learning_starts:50}", "episodes=2", "measure_every=60"]
    done = run("world=physics", "task=reacher", "algorithm=sac", f"output={tmp_path / 'a'}", *short)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "a" / "result.json").read_text())
    assert [(point["steps"], len(point["physical"])) for point in result["curve"]] == [(60, 10), (100, 10)]
    assert result["world"] == "physics" and result["real_steps"] == 100 and result["trial"]["sac"]["imagined"] is None


def test_a_policy_for_recordings_is_trained_with_running_scales(tmp_path):
    short = ["steps=64", "num_envs=2", "settings={n_steps:32,batch_size:32}", "episodes=2"]
    done = run("world=physics", "task=hopper", "normalize=true", f"output={tmp_path / 'a'}", *short)
    assert done.returncode == 0, done.stderr
    policy = load_policy(tmp_path / "a")
    assert policy.tensors["mean"][0] == pytest.approx(1.25, abs=0.1)  # the height at which it starts, m
    settings = json.loads((tmp_path / "a" / "result.json").read_text())["settings"]
    assert settings["normalize"] is True
    assert "imitate_share" not in settings  # nothing is imitated: it makes no other agent


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["algorithm=dqn", "world=physics", "task=reacher"], "algorithm='dqn'"),
        (["world=dream", "task=reacher"], "task=reacher: only for world=physics"),
        (["world=physics", "task=dancer"], "dancer"),
        (["model=nobody"], "no model 'nobody'"),
        (["stepz=3"], "stepz"),
        (["steps=many"], "steps"),
        (["episodes=1"], "episodes=1"),
        (["measure_every=5"], "measure_every=5: only for world=physics"),
        (["measure_every=0", "world=physics", "task=reacher", "algorithm=sac"], "measure_every=0"),
        (["imitate=nowhere"], "nowhere"),
        (["imitate=nowhere", "imitate_share=0"], "imitate_share=0"),
    ],
)
def test_bad_input_is_one_line_that_names_it(tmp_path, arguments, named):
    done = run(f"output={tmp_path / 'agent'}", *arguments)
    errors = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
    assert done.returncode == 1 and len(errors) == 1 and named in errors[0], done.stderr
    assert not (tmp_path / "agent").exists()
