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

from wm_gym.data.episodes import open_dataset, verify_dataset
from wm_gym.physics.camera import why_no_camera

PROGRAM = Path(__file__).parents[2] / "datasets" / "collect_episodes.py"
TINY = ("task=reacher", "camera.width=32", "camera.height=32", "workers=1")
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["task=robot_dog"], "task=robot_dog does not exist (one of ant, custom"),
        (["task=reacher", "num_steps=many"], "'num_steps'"),
        (["task=reacher", "behaviours={policy:1}", "policy=nowhere.zip"], "trust=true"),
        (["task=reacher", "camera.width=0"], "0 x 64 pixels"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, arguments, words):
    done = _run(*arguments, f"output={tmp_path / 'data'}")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and words in done.stderr
    assert list(tmp_path.iterdir()) == []
