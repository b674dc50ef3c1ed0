"""``agents/train_camera_rounds.py`` as a person runs it, on a camera model that was fitted for a moment."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3 import SAC

from wm_gym.evaluation.camera_report import read_camera_agent
from wm_gym.models import load_model
from wm_gym.physics.camera import why_no_camera
from wm_gym.policies import load_policy

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(why_no_camera() is not None, reason="no off-screen drawing here")


def run(*command):
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=300, check=False
    )


def rounds(*arguments):
    return run(ROOT / "agents" / "train_camera_rounds.py", *arguments)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A recording of 600 steps and a tiny camera model of it."""
    folder = tmp_path_factory.mktemp("camera")
    done = run(
        ROOT / "datasets" / "collect_episodes.py", "task=reacher", "num_steps=600", "workers=1",
        f"output={folder / 'video'}", "behaviours={random:0.5,smooth:0.5}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = run(
        "-m", "wm_gym.train", "family=camera", f"dataset={folder / 'video'}", f"output={folder / 'model'}", "threads=1",
        "updates=20", "batch_size=8", "frame_updates=20", "frame_batch=8", "members=2", "width=16", "layers=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def given(place, *more):
    return [
        f"model={place / 'model'}", f"dataset={place / 'video'}", f"output={place / 'agent'}", "steps=60", "rounds=2",
        "first_updates=4", "updates=2", "imagined=100", "tried=1", "episodes=2", *more,
    ]  # fmt: skip


def test_an_agent_learns_from_the_recording_and_from_what_it_does(place):
    done = rounds(*given(place))
    assert done.returncode == 0, done.stderr
    output = place / "agent"
    result = json.loads((output / "result.json").read_text())
    assert [point["steps"] for point in result["curve"]] == [600, 630, 660] and result["real_steps"] == 660
    trial = result["trial"]["sac"]
    assert len(trial["physical_returns"]) == len(trial["imagined_returns"]) == len(trial["refiltered_returns"]) == 2
    size = load_model(place / "model").model
    vector = np.zeros(size.embedding_size + size.shape.memory, np.float32)
    exported, _ = load_policy(output).predict(vector)
    saved, _ = SAC.load(output / "sac.zip", device="cpu").predict(vector, deterministic=True)
    assert np.allclose(exported, saved, atol=1e-5)
    assert not (place / "agent.partial").exists()
    assert "complete already" in rounds(*given(place)).stdout
    other = rounds(*given(place, "seed=1"))
    assert other.returncode == 1 and "holds another agent" in other.stderr
    told = read_camera_agent(output, load_model(place / "model"))
    assert told["physical"] == trial["physical"] and told["real_steps"] == 660
    table = place / "table.json"
    done = run(ROOT / "benchmarks" / "gather_agents.py", f"agents=[{output}]", f"output={table}")
    assert done.returncode == 0, done.stderr
    row = json.loads(table.read_text())["rows"][0]
    assert row["method"] == result["method"] and row["episode_returns"] == trial["physical_returns"]


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("rounds=0", "rounds=0"),
        ("steps=1", "steps=1"),
        ("episodes=1", "episodes=1"),
        ("updates=0", "updates=0"),
        ("gamma=2", "gamma=2"),
        ("real_share=0", "real_share=0"),
        ("model=hopper", "model=hopper: a camera model"),
        ("model=reacher_camera", "not the recording that reacher_camera was fitted to"),
    ],
)
def test_bad_input_is_one_line_that_names_it(place, tmp_path, argument, named):
    done = rounds(*given(place, argument, f"output={tmp_path / 'agent'}"))
    errors = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
    assert done.returncode == 1 and len(errors) == 1 and named in errors[0], done.stderr
    assert not (tmp_path / "agent").exists()
