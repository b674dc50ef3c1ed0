"""``agents/train_camera_rounds.py`` as a person runs it, on a camera model that was fitted for a moment."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wm_gym.data.episodes import open_dataset
from wm_gym.models import load_model
from wm_gym.physics.camera import why_no_camera

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
        f"model={place / 'model'}", f"dataset={place / 'video'}", f"output={place / 'rounds'}", "steps=400", "rounds=2",
        "updates=10", "batch_size=8", "agent_steps=400", "num_envs=4", "horizon=20", "episodes=2", *more,
    ]  # fmt: skip


def test_every_round_records_what_its_policy_does_and_fits_the_model_further(place):
    done = rounds(*given(place))
    assert done.returncode == 0, done.stderr
    output = place / "rounds"
    assert [len(open_dataset(output / f"round_{n}" / "data")) for n in (1, 2)] != [0, 0]
    assert open_dataset(output / "round_2" / "data").num_steps == 200
    result = json.loads((output / "result.json").read_text())
    assert [point["steps"] for point in result["curve"]] == [600, 800, 1000]
    assert all(len(point["physical"]) == 2 for point in result["curve"])
    first, last = load_model(place / "model"), load_model(output / "round_2" / "model")
    assert last.manifest["dataset"]["steps"] == 1000 and len(last.manifest["dataset"]["rounds"]["sha256"]) == 3
    weights, further = first.model.state_dict(), last.model.state_dict()
    moved = {name.split(".")[0] for name in weights if not weights[name].equal(further[name])}
    assert "dynamics" in moved and "coders" not in moved  # the coder stays as it is
    assert not list(output.rglob("frames")) and not list(output.rglob("checkpoint*"))
    assert not list(output.rglob("agent.partial"))

    assert last.manifest["fit"]["updates"] == 10 and last.manifest["fit"]["first"]["updates"] == 20
    assert len(last.manifest["commands"]) == len(first.manifest["commands"]) + 1

    # Interrupted after a round's fit, it goes on from there, and finished it says so.
    (output / "result.json").unlink()
    (output / "round_2" / "round.json").unlink()
    shutil.rmtree(output / "round_2" / "policy")
    written = (output / "round_2" / "model" / "model.safetensors").stat().st_mtime_ns
    again = rounds(*given(place))
    assert again.returncode == 0, again.stderr
    assert (output / "round_2" / "model" / "model.safetensors").stat().st_mtime_ns == written
    told = json.loads((output / "result.json").read_text())["curve"]
    assert [point["physical"] for point in told] == [point["physical"] for point in result["curve"]]
    assert "complete already" in rounds(*given(place)).stdout
    further = rounds(*given(place, f"model={output / 'round_2' / 'model'}", f"output={place / 'further'}"))
    assert further.returncode == 1 and "it comes from rounds already" in further.stderr
    other = rounds(*given(place, "seed=1"))
    assert other.returncode == 1 and "holds another agent" in other.stderr


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("rounds=0", "rounds=0"),
        ("steps=10", "steps=10"),
        ("episodes=1", "episodes=1"),
        ("updates=0", "updates=0"),
        ("noise=-1", "noise=-1"),
        ("gamma=2", "gamma=2"),
        ("start=sometime", "sometime"),
        ("horizon=0", "horizon=0"),
        ("model=hopper", "model=hopper: a camera model"),
        ("model=reacher_camera", "not the recording that reacher_camera was fitted to"),
    ],
)
def test_bad_input_is_one_line_that_names_it(place, tmp_path, argument, named):
    done = rounds(*given(place, argument, f"output={tmp_path / 'agent'}"))
    errors = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
    assert done.returncode == 1 and len(errors) == 1 and named in errors[0], done.stderr
    assert not (tmp_path / "agent").exists()
