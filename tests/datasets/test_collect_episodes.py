"""The program as a person runs it: a process with a command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from wm_gym.data.episodes import open_dataset, verify_dataset
from wm_gym.physics.camera import why_no_camera
from wm_gym.policies import Policy

PROGRAM = Path(__file__).parents[2] / "datasets" / "collect_episodes.py"
TINY = ("task=reacher", "behaviours={random:1,smooth:1}", "camera.width=32", "camera.height=32", "workers=1")
HAS_CAMERA = why_no_camera() is None


def _command(*arguments):
    return [sys.executable, str(PROGRAM), *map(str, arguments)]


def _run(*arguments, **environment):
    return subprocess.run(
        _command(*arguments), env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def _same_data(one, other):
    left, right = open_dataset(one), open_dataset(other)
    cameras = [camera.name for camera in left.task.cameras]
    assert left.task == right.task
    assert (left.behaviours, left.seeds) == (right.behaviours, right.seeds)
    for index in range(len(left)):
        a, b = left.episode(index, cameras), right.episode(index, cameras)
        assert (a.terminated, a.truncated) == (b.terminated, b.truncated)
        for name in ("observations", "actions", "rewards", "qpos", "qvel"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        for name in cameras:
            np.testing.assert_array_equal(a.frames[name], b.frames[name])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / "data"
    done = _run(*TINY, "num_steps=130", f"output={folder}")
    assert done.returncode == 0, done.stderr
    return folder, done


def test_it_records_what_was_asked_and_says_so(recorded):
    folder, done = recorded
    dataset = verify_dataset(folder)
    assert dataset.num_steps == 130
    assert dataset.lengths.tolist() == [50, 15, 50, 15]
    assert dataset.behaviours == ("random", "random", "smooth", "smooth")
    assert [(c.name, c.width, c.height) for c in dataset.task.cameras] == [("top", 32, 32)] * HAS_CAMERA
    episode = dataset.episode(1, [camera.name for camera in dataset.task.cameras])
    assert (episode.terminated, episode.truncated) == (False, True)
    assert episode.qpos.shape == (16, 4)
    assert all(frames.shape == (16, 32, 32, 3) for frames in episode.frames.values())
    assert {"mujoco", "gymnasium"} <= dataset.manifest["versions"].keys()
    assert dataset.manifest["licence"] == "CC0-1.0"
    assert "num_steps=130" in dataset.manifest["command"]
    result = json.loads((folder / "result.json").read_text())
    assert result["behaviours"]["random"]["episodes"] == 2
    whole = dataset.episode(0).rewards.sum()
    assert result["behaviours"]["random"]["return_mean"] == pytest.approx(float(whole), rel=1e-5)
    assert "65 steps random, 65 steps smooth" in done.stdout and "less than a minute" in done.stdout
    assert done.stdout.rstrip().endswith(f"written: {folder}")
    assert "130/130" in done.stderr


def test_once_more_is_already_complete_and_another_recipe_is_refused(recorded):
    folder, _ = recorded
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    again = _run(*TINY, "num_steps=130", f"output={folder}")
    assert again.returncode == 0 and "already complete" in again.stdout
    other = _run(*TINY, "num_steps=140", f"output={folder}")
    assert other.returncode == 1 and other.stderr.startswith("error: ") and other.stderr.count("\n") == 1
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def test_two_processes_record_the_same_data(recorded, tmp_path):
    done = _run(*TINY[:-1], "workers=2", "num_steps=130", f"output={tmp_path / 'data'}")
    assert done.returncode == 0, done.stderr
    _same_data(recorded[0], tmp_path / "data")


HOPPER = ("task=hopper", "cameras=[]", "num_steps=500")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "data"
    assert _run(*HOPPER, "workers=1", f"output={folder}").returncode == 0
    return folder


@pytest.mark.parametrize(("workers", "sign"), [(1, signal.SIGTERM), (2, signal.SIGKILL)])
def test_interrupted_it_keeps_the_finished_episodes_and_goes_on(tmp_path, uninterrupted, workers, sign):
    """Hopper falls after some 20 steps: many short episodes, so that the signal meets it between two of them."""
    arguments = (*HOPPER, f"workers={workers}")
    folder, staging = tmp_path / "data", tmp_path / "data.staging"
    program = subprocess.Popen(
        _command(*arguments, f"output={folder}"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while len(list(staging.glob("[a-z]*-*"))) < 4 and time.monotonic() < deadline and program.poll() is None:
        time.sleep(0.01)
    program.send_signal(sign)
    _, said = program.communicate(timeout=60)
    assert program.returncode == (-9 if sign == signal.SIGKILL else 130), said
    assert sign == signal.SIGKILL or "goes on from there" in said
    assert not folder.exists()
    _wait_until_alone(program.pid)
    kept = len(list(staging.glob("[a-z]*/episode.json")))
    resumed = _run(*arguments, f"output={folder}")
    assert resumed.returncode == 0, resumed.stderr
    assert kept >= 4 and "were recorded already" in resumed.stdout
    assert not staging.exists()
    _same_data(folder, uninterrupted)


def _wait_until_alone(group):
    """The program's workers end with it, even where it was killed."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("worker processes outlive the program")


def test_without_egl_it_records_without_camera_and_says_how_to_get_one(tmp_path):
    done = _run(*TINY, "num_steps=20", f"output={tmp_path / 'data'}", PYOPENGL_PLATFORM="glx", MUJOCO_GL="egl")
    assert done.returncode == 0, done.stderr
    warning = done.stderr.splitlines()[0]
    assert warning.startswith("warning: recording without camera") and "libegl1" in warning
    assert open_dataset(tmp_path / "data").task.cameras == ()


def test_another_robot_by_its_id_and_no_camera(tmp_path):
    done = _run(
        "task=custom", "task.env_id=InvertedPendulum-v4", "cameras=[]", "num_steps=30", "workers=1",
        "behaviours={smooth:1}", f"output={tmp_path / 'data'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    dataset = open_dataset(tmp_path / "data")
    assert (dataset.task.env_id, dataset.num_steps, set(dataset.behaviours)) == ("InvertedPendulum-v4", 30, {"smooth"})


def _save_policy(folder, push):
    """Reacher's: it always asks for the same two torques."""
    layer = {"weight.0": torch.zeros(2, 10), "bias.0": torch.full((2,), push)}
    scales = {"mean": torch.zeros(10), "scale": torch.ones(10), "low": -torch.ones(2), "high": torch.ones(2)}
    Policy(layer | scales, "tanh", False, {}).save(folder)


def test_several_policies_act_in_one_recording_and_belong_to_its_identity(tmp_path):
    _save_policy(tmp_path / "weak", 0.25)
    _save_policy(tmp_path / "agent" / "policy", 0.75)  # as an agent's folder holds it
    arguments = [
        "task=reacher", "cameras=[]", "num_steps=120", "workers=2", f"policies.weak={tmp_path / 'weak'}",
        f"policies.strong={tmp_path / 'agent'}", "behaviours={weak:1,noisy_weak:1,strong:1}",
        f"output={tmp_path / 'data'}",
    ]  # fmt: skip
    done = _run(*arguments)
    assert done.returncode == 0, done.stderr
    dataset = open_dataset(tmp_path / "data")
    assert dataset.behaviours == ("weak", "noisy_weak", "strong")
    pushes = [dataset.episode(index).actions for index in range(3)]
    assert (pushes[0] == 0.25).all() and (pushes[2] == 0.75).all() and np.std(pushes[1]) > 0
    assert len(set(dataset.manifest["recipe"]["policies"].values())) == 2
    assert "already complete" in _run(*arguments).stdout
    _save_policy(tmp_path / "weak", 0.5)
    changed = _run(*arguments)
    assert changed.returncode == 1 and changed.stderr.count("\n") == 1


def test_an_episode_limit_of_ones_own(tmp_path):
    limited = ("task=reacher", "cameras=[]", "workers=1", "num_steps=240", "behaviours={random:1}")
    unused = "task.policies.good=nowhere"  # a recipe's policy that has no share need not be there
    done = _run(*limited, unused, "task.max_episode_steps=100", f"output={tmp_path / 'data'}")
    assert done.returncode == 0, done.stderr
    dataset = open_dataset(tmp_path / "data")
    assert dataset.lengths.tolist() == [100, 100, 40] and dataset.task.max_episode_steps == 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["task=robot_dog"], "task=robot_dog does not exist (one of ant, custom"),
        (["task=reacher", "num_steps=many"], "'num_steps'"),
        (["task=reacher", "behaviours={good:1}"], "behaviour 'good' does not exist (one of random, smooth"),
        (["task=reacher", "behaviours={good:1}", "policies.good=nowhere.zip"], "trust=true"),
        (["task=reacher", "behaviours={good:1}", "policies.good=nowhere"], "nowhere/policy.json: cannot be read"),
        (["task=reacher", "behaviours={good:1}", "task.policies.good=its/own"], "datasets/its/own/policy.json"),
        (["task=reacher", "policies.good=nowhere"], "policies.good=nowhere is not used"),
        (["task=reacher", "policies.smooth=nowhere"], "policies.smooth: a policy's name"),
        (["task=reacher", "task.max_episode_steps=0"], "task.max_episode_steps=0"),
        (["task=reacher", "camera.width=0"], "0 x 64 pixels"),
        (["task=reacher", "task.cameras.top.samples=0"], "samples=0"),
        (["task=reacher", "task.cameras.top.samples=2", "camera.width=4000"], "samples=2"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, arguments, words):
    done = _run(*arguments, f"output={tmp_path / 'data'}")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and words in done.stderr
    assert list(tmp_path.iterdir()) == []
