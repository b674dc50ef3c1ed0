"""The comparison as a person asks for it, with settings of seconds; and what another call adds to it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ["task=reacher", "minutes=0.1", "limit=20", "steps=100", "num_envs=2", "episodes=2", "workers=1", "updates=2"]
SMALL += ["imagination.start=any", "imagination.uncertainty=truncate"]


def run(*arguments):
    command = [sys.executable, "benchmarks/compare_simulators.py", *(str(argument) for argument in arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Two worlds and one seed."""
    output = tmp_path_factory.mktemp("robot") / "simulators"
    return output, run(*SMALL, "behaviours={smooth:1}", "worlds=[nominal,oracle]", "seeds=[0]", f"output={output}")


def test_it_says_what_it_costs_and_ends_with_a_table_and_a_chart(first):
    output, done = first
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "reacher: 0.1 minutes of logs (300 steps) of a robot with secrets:"
    assert "minutes of one core in all" in done.stdout and "2 simulation steps of 0.01 s" in done.stdout
    assert done.stdout.strip().splitlines()[-1] == f"benchmark: {output}"
    result = json.loads((output / "result.json").read_text())
    assert [row["world"] for row in result["table"]] == ["nominal", "oracle"]
    assert result["secret"]["delay_steps"] == 2 and result["logs"]["steps"] == 300 and result["memory"] == 2
    assert len(result["in_the_ranges"]) == 5
    assert (result["settings"]["imagination"]["start"], result["settings"]["imagination"]["penalty"]) == ("any", 1.0)
    acted = {path.stem.rsplit("-", 1)[0] for path in (output / "logs").glob("*.csv")}
    assert acted == {"smooth"}, "the default's random motion must not join what is given"
    assert (output / "returns.svg").is_file() and not list((output / "agents").glob("*.partial"))


def test_in_a_second_round_what_was_learnt_acts_and_is_logged(tmp_path):
    output = tmp_path / "simulators"
    settings = [*SMALL, "behaviours={smooth:1}", "worlds=[nominal]", "seeds=[0]", "rounds=2", "minutes=0.2"]
    done = run(*settings, f"output={output}")
    assert done.returncode == 0, done.stderr
    steps = {}
    for path in (output / "logs").glob("*.csv"):
        behaviour = path.stem.rsplit("-", 1)[0]
        steps[behaviour] = steps.get(behaviour, 0) + len(path.read_text().splitlines()) - 2
    assert steps == {"smooth": 300, "learnt_2": 150, "noisy_learnt_2": 150}
    assert json.loads((output / "result.json").read_text())["logs"]["steps"] == 600
    header = (output / "logs" / "learnt_2-000000.csv").read_text().splitlines()[0].split(",")
    assert len([name for name in header if name.startswith("x")]) == 10, "what the agent remembers is no observation"
    again = run(*settings, "seeds=[0,1]", f"output={output}")
    assert again.returncode == 0, "a seed more finds the logs of all rounds, and goes on: " + again.stderr
    assert json.loads((output / "result.json").read_text())["table"][0]["seeds"] == 2


@pytest.mark.slow
def test_another_call_adds_worlds_and_keeps_what_is_finished(first):
    output, _ = first
    before = {path: path.stat().st_mtime_ns for path in output.glob("agents/*/result.json")}
    done = run(
        *SMALL, "behaviours={smooth:1}", "worlds=[nominal,identified,imagination]", "seeds=[0]", f"output={output}"
    )
    assert done.returncode == 0, done.stderr
    assert all(path.stat().st_mtime_ns == written for path, written in before.items())
    result = json.loads((output / "result.json").read_text())
    worlds = [row["world"] for row in result["table"]]
    if "impossible" in result["identified"]:
        assert worlds == ["imagination", "nominal"] and "not possible" in done.stdout
    else:
        assert worlds == ["imagination", "nominal", "identified"] and "mujoco.sysid found damping" in done.stdout


def test_other_settings_in_the_same_folder_are_one_line(first):
    done = run(*SMALL, "behaviours={smooth:1}", "secret.gain=0.9", f"output={first[0]}")
    assert done.returncode == 1 and "Traceback" not in done.stderr and "holds a comparison with secret=" in done.stderr


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("worlds=[dream]", "error: worlds=['dream']: some of imagination, nominal"),
        ("longest_horizon=3", "error: longest_horizon=3: a power of two is needed"),
        ("imagination.start=bogus", "error: start='bogus': this model offers initial, any"),
    ],
)
def test_what_does_not_exist_is_one_line_before_anything_is_claimed(tmp_path, setting, words):
    done = run(*SMALL, setting, f"output={tmp_path / 'none'}")
    assert done.returncode == 1 and done.stderr.startswith(words)
    assert len(done.stderr.strip().splitlines()) == 1 and not (tmp_path / "none").exists()
