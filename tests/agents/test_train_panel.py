"""``python agents/train_panel.py`` as a person runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from wm_gym.policies.panel import load_panel

PROGRAM = Path(__file__).resolve().parents[2] / "agents" / "train_panel.py"
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
TINY = ["task=reacher", "policies=3", "episodes=2", "workers=1"]


def command(*arguments):
    return [sys.executable, str(PROGRAM), *arguments]


def run(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300, check=False)


def test_an_interrupted_panel_keeps_what_is_finished_and_goes_on(tmp_path):
    output = tmp_path / "panel"
    arguments = [*TINY, "scale=0.03", f"output={output}"]
    program = subprocess.Popen(command(*arguments), **PIPES, start_new_session=True)
    finished = tmp_path / "panel.partial" / "finished"
    deadline = time.monotonic() + 200
    while not list(finished.glob("*/tried.json")) and time.monotonic() < deadline and program.poll() is None:
        time.sleep(0.01)
    program.send_signal(signal.SIGTERM)
    _, said = program.communicate(timeout=60)
    assert program.returncode == 130 and "goes on from there" in said, said
    wait_until_alone(program.pid)
    first = next(finished.glob("*/tried.json")).parent
    kept = (first / "policy.safetensors").read_bytes()
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert (output / first.name / "policy.safetensors").read_bytes() == kept
    assert not (tmp_path / "panel.partial").exists()
    check_panel(output, done.stdout)
    assert "complete already" in run(*arguments).stdout
    other = run(*arguments, "seed=5")
    assert other.returncode == 1 and "holds something else" in other.stderr


def wait_until_alone(group):
    """The program's workers end with it."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("worker processes outlive the program")


def check_panel(output, printed):
    panel = {policy.name: policy for policy in load_panel(output)}
    assert list(panel) == ["ppo_00", "a2c_00", "sac_00", "zero", "constant", "sine", "random", "adversarial"]
    assert panel["sac_00"].details["steps"] == 300 and panel["ppo_00"].details["steps"] == 2048  # one rollout
    actions = {name: policy.act(np.zeros((2, 10), np.float32), np.arange(2), 3) for name, policy in panel.items()}
    assert all(action.shape == (2, 2) for action in actions.values())
    best = panel["adversarial"].details["mirrors"]
    np.testing.assert_allclose(actions["adversarial"], -actions[best], atol=1e-6)
    for policy in panel.values():
        figures = policy.details["return"]
        assert figures["value"] == pytest.approx(np.mean(policy.details["returns"]), abs=1e-3)
        assert figures["low"] <= figures["value"] <= figures["high"] and len(policy.details["returns"]) == 2
        assert policy.name in printed
    assert (
        max(policy.details["return"]["value"] for policy in panel.values() if policy.kind == "trained")
        == (panel[best].details["return"]["value"])
    )
    assert json.loads((output / "result.json").read_text())["settings"]["task"] == "reacher"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["task=dancer"], "dancer"),
        (["policies=0"], "policies=0"),
        (["episodes=1"], "episodes=1"),
        (["scale=0"], "scale=0"),
    ],
)
def test_bad_input_is_one_line_that_names_it(tmp_path, arguments, named):
    done = run(*TINY, *arguments, f"output={tmp_path / 'panel'}")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and named in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []
