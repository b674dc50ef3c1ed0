"""``python -m wm_gym.train`` as a person runs it."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from wm_gym.config import load_config
from wm_gym.data.writer import DatasetWriter
from wm_gym.envs import WorldModelEnv
from wm_gym.errors import ConfigError
from wm_gym.models import load_model
from wm_gym.models.checkpoint import read_tensors
from wm_gym.train import TrainConfig
from wm_gym.types import BoxSpec, Episode, TaskSpec

FAST = ["updates=40", "batch_size=32", "longest_horizon=2", "width=16", "layers=1", "members=2", "threads=1"]


def record(folder, episodes=20, steps=12, size=3):
    """Numbers that follow their actions: enough for a fit, in a millisecond."""
    rng = np.random.default_rng(0)
    unbounded = BoxSpec((-float("inf"),) * size, (float("inf"),) * size)
    task = TaskSpec("toy", unbounded, BoxSpec((-1.0,), (1.0,)), 0.1, steps)
    writer = DatasetWriter(folder, task, {"seed": 0}, "CC0-1.0", {}, "python record.py")
    for number in range(episodes):
        actions = rng.uniform(-1, 1, (steps, 1)).astype(np.float32)
        position = np.concatenate([[[0.0]], np.cumsum(actions, 0)]) + rng.normal()
        observations = np.concatenate([position, np.sin(position), np.cos(position)], 1)[:, :size].astype(np.float32)
        rewards = -(position[1:, 0] ** 2).astype(np.float32)
        writer.stage(f"{number:04d}", Episode(observations, actions, rewards, False, True, 0.1, behaviour="random"))
    return writer.finish([f"{number:04d}" for number in range(episodes)]).folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return record(tmp_path_factory.mktemp("recorded") / "data")


def train(*arguments, **options):
    command = [sys.executable, "-m", "wm_gym.train", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def test_a_fit_ends_with_a_table_and_a_model(dataset, tmp_path):
    done = train(f"dataset={dataset}", f"output={tmp_path / 'model'}", *FAST)
    assert done.returncode == 0, done.stderr
    assert "after    1 imagined steps" in done.stdout and f"model: {tmp_path / 'model'}" in done.stdout
    assert "rollout error" in done.stderr
    model = load_model(tmp_path / "model")
    assert model.manifest["dataset"]["steps"] == 240 and model.manifest["licence"] == "CC0-1.0"
    recorded, fitted = model.manifest["commands"]
    assert recorded == "python record.py" and fitted.startswith(f"python -m wm_gym.train dataset={dataset} output=")
    result = json.loads((tmp_path / "model" / "result.json").read_text())
    assert set(result["validation_error"]) == {"1", "5", "10"}
    assert not (tmp_path / "model.partial").exists()
    again = train(f"dataset={dataset}", f"output={tmp_path / 'model'}", *FAST)
    assert again.returncode == 0 and "complete already" in again.stdout
    other = train(f"dataset={dataset}", f"output={tmp_path / 'model'}", "seed=1", *FAST)
    assert other.returncode == 1 and "holds another model" in other.stderr


def test_a_killed_fit_goes_on_to_the_same_weights(dataset, tmp_path):
    settings = [f"dataset={dataset}", *FAST[1:], "updates=600"]
    assert train(*settings, f"output={tmp_path / 'whole'}").returncode == 0
    command = [sys.executable, "-m", "wm_gym.train", *settings, f"output={tmp_path / 'part'}"]
    checkpoint = tmp_path / "part.partial" / "checkpoint.safetensors"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert checkpoint.exists() and not (tmp_path / "part").exists()
    assert train(*settings, f"output={tmp_path / 'part'}").returncode == 0
    whole, part = (read_tensors(tmp_path / name / "model.safetensors") for name in ("whole", "part"))
    assert all(np.array_equal(whole[name], part[name]) for name in whole)


def test_another_fits_remains_are_not_taken_up(dataset, tmp_path):
    (tmp_path / "model.partial").mkdir()
    (tmp_path / "model.partial" / "fit.json").write_text("{}")
    done = train(f"dataset={dataset}", f"output={tmp_path / 'model'}", *FAST)
    assert done.returncode == 1 and "unfinished fit with other settings" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["dataset=nowhere"], "nowhere"),
        (["updatez=3"], "updatez"),
        (["updates=many"], "updates"),
        (["updates=0"], "updates=0"),
        (["longest_horizon=3"], "longest_horizon=3"),
        (["learning_rate=2"], "learning_rate=2"),
        (["device=tpu"], "device"),
    ],
)
def test_bad_input_is_one_line_that_names_it(dataset, tmp_path, arguments, named):
    settings = [f"dataset={dataset}", f"output={tmp_path / 'model'}", *FAST]
    done = train(*[s for s in settings if s.split("=")[0] != arguments[0].split("=")[0]], *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and named in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "model").exists()


def test_a_dataset_too_small_to_split_says_how_much_is_needed(tmp_path):
    folder = record(tmp_path / "data", episodes=3)
    done = train(f"dataset={folder}", f"output={tmp_path / 'model'}", *FAST)
    assert done.returncode == 1 and "6" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_damaged_dataset_leaves_nothing_half_written(dataset, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(dataset, folder)
    table = next(folder.glob("data/**/*.parquet"))
    table.write_bytes(table.read_bytes()[:-100])
    done = train(f"dataset={folder}", f"output={tmp_path / 'model'}", *FAST)
    assert done.returncode == 1 and table.name in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


def test_what_must_be_given_is_said():
    with pytest.raises(ConfigError, match=r"dataset=\.\.\. must be given"):
        load_config(TrainConfig, ["output=x"])


def test_a_folder_of_lerobots_own_trains_and_says_what_it_does_not_hold(foreign_folder, tmp_path):
    refused = train(f"dataset={foreign_folder}", f"output={tmp_path / 'model'}", *FAST)
    assert refused.returncode == 1 and "states no licence" in refused.stderr
    done = train(f"dataset={foreign_folder}", f"output={tmp_path / 'model'}", "allow_unlicensed=true", *FAST)
    assert done.returncode == 0, done.stderr
    assert "holds no reward, which will be 0 (reward_fn=...)" in done.stdout
    with pytest.warns(UserWarning, match="learnt from logs without a reward: every step earns 0"):
        WorldModelEnv(tmp_path / "model")
    env = WorldModelEnv(tmp_path / "model", reward_fn=lambda observation, action, following: -(following[:, 0] ** 2))
    env.reset(seed=0)
    observation, reward, terminated, truncated, _ = env.step(np.zeros(1, np.float32))
    assert reward == pytest.approx(-(float(observation[0]) ** 2)) and not (terminated or truncated)
