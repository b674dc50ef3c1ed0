"""``python agents/train_rounds.py`` as a person runs it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wm_gym.data.episodes import open_dataset
from wm_gym.models import load_model
from wm_gym.policies import load_policy

PROGRAM = Path(__file__).resolve().parents[2] / "agents" / "train_rounds.py"
TINY = [
    *("task=inverted_pendulum", "steps=300", "rounds=2", "updates=20", "batch_size=20", "longest_horizon=1"),
    *("agent_steps=256", "num_envs=8", "settings={n_steps:16,batch_size:64,n_epochs:1}", "episodes=2"),
]


def run(*arguments):
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def without_times(result):
    return [{name: value for name, value in point.items() if name != "seconds"} for point in result["curve"]]


def test_a_robot_is_learnt_in_rounds_and_an_interrupted_one_goes_on_alike(tmp_path):
    output = tmp_path / "agent"
    program = run(*TINY, f"output={output}")
    assert program.returncode == 0, program.stderr
    result = json.loads((output / "result.json").read_text())
    assert [point["steps"] for point in result["curve"]] == [150, 300] and result["real_steps"] == 300
    promised, kept = result["imagined_by_the_last_model"], result["kept_round"]
    assert len(promised) == 2 and promised[kept] == max(promised)
    assert result["physical_returns"] == result["curve"][kept]["physical"] and len(result["physical_returns"]) == 2
    first, second = (list(open_dataset(output / f"round_{n}" / "data").episodes()) for n in (0, 1))
    assert sum(map(len, first)) == 150 and sum(map(len, second)) == 300
    assert [list(e.actions[:, 0]) for e in second[: len(first)]] == [list(e.actions[:, 0]) for e in first]
    acted = {episode.behaviour for episode in second[len(first) :]}
    assert acted == {"learnt", "noisy_learnt"} and {e.behaviour for e in first} == {"random", "smooth"}
    assert load_model(output / "round_1" / "model").task.name == "inverted_pendulum"
    observation = first[0].observations[0]
    for folder in (output, output / f"round_{kept}" / "agent"):
        assert load_policy(folder).predict(observation)[0] == load_policy(output).predict(observation)[0]
    assert (output / "learning.svg").read_text().startswith("<svg")
    assert "complete already" in run(*TINY, f"output={output}").stdout
    for lost in ("agent", "model"):  # as a kill while the second round's policy is saved, or its model fitted
        shutil.rmtree(output / "round_1" / lost)
        (output / "round_1" / "round.json").unlink()
        (output / "result.json").unlink()
        again = run(*TINY, f"output={output}")
        assert again.returncode == 0, again.stderr
        assert without_times(json.loads((output / "result.json").read_text())) == without_times(result)
    assert not (output / "round_1" / "agent.partial").exists()
    other = run(*TINY, "seed=1", f"output={output}")
    assert other.returncode == 1 and "another agent" in other.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        *("rounds=0", "steps=3", "episodes=1", "task=walrus", "longest_horizon=3", "num_envs=0", "seed=-1"),
        *("agent_steps=0", "settings.bogus=1", "imagination.start=nowhere"),
    ],
)
def test_bad_input_is_one_line(tmp_path, wrong):
    program = run(*TINY, wrong, f"output={tmp_path / 'agent'}")
    assert program.returncode == 1
    named = wrong.split("=")[0].split(".")[-1]
    assert len(program.stderr.strip().splitlines()) == 1 and named in program.stderr
    assert not (tmp_path / "agent").exists()
