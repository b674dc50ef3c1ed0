"""SIGTERM, as a queue or a laptop's lid sends it: every program ends within five seconds, and its work goes on."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wm_gym.testing import inputs

ROOT = Path(__file__).parents[1]
LONG = {
    # program: (its command but for the output, a file by which its work has begun; None where nothing can be kept)
    "collect": (
        ["datasets/collect_episodes.py", "task=hopper", "cameras=[]", "num_steps=1000000", "workers=2"],
        "output.staging/*/episode.json",
    ),
    "train": (
        ["-m", "wm_gym.train", "dataset={data}", "updates=1000000", "batch_size=16", "width=8", "threads=1"],
        "output.partial/fit.json",
    ),
    "agent": (
        ["agents/train_agent.py", "model=reacher", "steps=100000000", "num_envs=8", "threads=1"],
        "output.partial/learn.json",
    ),
    "camera agent": (
        ["agents/train_camera_agent.py", "model=reacher_camera", "steps=100000000", "num_envs=8", "threads=1"],
        "output.partial/learn.json",
    ),
    "dyna": (
        [
            *["agents/train_dyna.py", "task=inverted_pendulum", "steps=1000000", "warm_up=50", "refit_every=50"],
            *["width=8", "first_fit=20", "refit=5", "imagined=50"],
        ],
        "output.partial/dyna.json",
    ),
    "stress": (["benchmarks/stress_imagination.py", "models=[reacher]", "steps=1000000000"], None),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / "data"
    inputs.write_dataset(folder, episodes=8)
    return folder


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def is_alone(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("program", LONG)
def test_a_program_that_is_told_to_end_does_so_at_once_and_keeps_its_work(tmp_path, data, program):
    arguments, begun = LONG[program]
    command = [sys.executable, *(argument.format(data=data) for argument in arguments)]
    if not command[1].startswith("-"):
        command[1] = str(ROOT / command[1])
    running = subprocess.Popen(
        [*command, f"output={tmp_path / 'output'}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert wait_for(lambda: list(tmp_path.glob(begun or ".output.lock")) or running.poll() is not None, 120)
        time.sleep(1.0)
        assert running.poll() is None, running.stderr.read()
        asked = time.monotonic()
        running.terminate()
        _, said = running.communicate(timeout=60)
        elapsed = time.monotonic() - asked
    finally:
        running.kill()
    assert running.returncode == 130 and "interrupted: what was finished is saved" in said
    busy = max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))  # others may share this machine
    assert elapsed < 5 * busy
    assert wait_for(lambda: is_alone(running.pid), 5), "processes outlive the program"
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == ({begun.partition("/")[0]} if begun else set()), "its work is kept, and nothing else"
