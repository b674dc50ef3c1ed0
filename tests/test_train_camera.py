"""``python -m wm_gym.train family=camera`` as a person runs it."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from wm_gym.config import load_config
from wm_gym.data.writer import DatasetWriter
from wm_gym.errors import ConfigError
from wm_gym.models import load_model
from wm_gym.train import TrainConfig

FAST = ["family=camera", "updates=20", "batch_size=16", "longest_horizon=2", "width=16", "layers=1", "members=2"]
FAST += ["frame_updates=20", "frame_batch=16", "threads=1"]


def record(folder, moving_dot, spoil=lambda number, episode: episode, episodes=12):
    writer = DatasetWriter(folder, moving_dot.task, {"seed": 0}, "CC0-1.0", {}, "python record.py")
    keys = [f"{number:04d}" for number in range(episodes)]
    for number, key in enumerate(keys):
        writer.stage(key, spoil(number, moving_dot.episode(number)))
    return writer.finish(keys).folder


def freeze(number, episode):
    """The camera of episode 3 stops in its first frame."""
    if number == 3:
        episode.frames["eye"][1:] = episode.frames["eye"][0]
    return episode


def blacken(number, episode):
    """The camera of episode 5 was not there."""
    if number == 5:
        episode.frames["eye"][:] = 0
    return episode


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, moving_dot):
    return record(tmp_path_factory.mktemp("recorded") / "data", moving_dot)


def train(*arguments):
    command = [sys.executable, "-m", "wm_gym.train", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_camera_model_is_fitted_and_loaded_again(dataset, tmp_path):
    done = train(f"dataset={dataset}", f"output={tmp_path / 'model'}", *FAST)
    assert done.returncode == 0, done.stderr
    assert "after    1 imagined steps" in done.stdout and "frames" in done.stderr
    trained = load_model(tmp_path / "model")
    assert trained.model.family == "camera" and trained.model.obs_types == ("image", "latent")
    assert trained.starts.any.shape[1:] == (9, 24) and trained.starts.initial.shape[1:] == (1, 24)
    assert trained.manifest["dataset"]["left_out"] == {}
    assert json.loads((tmp_path / "model" / "result.json").read_text())["trusted_steps"] >= 0
    assert not (tmp_path / "model.partial").exists()
    again = train(f"dataset={dataset}", f"output={tmp_path / 'model'}", *FAST)
    assert again.returncode == 0 and "complete already" in again.stdout


def test_a_frozen_camera_is_named_and_left_out_only_when_asked(moving_dot, tmp_path):
    dataset = record(tmp_path / "data", moving_dot, freeze)
    settings = [f"dataset={dataset}", f"output={tmp_path / 'model'}", *FAST]
    refused = train(*settings)
    assert refused.returncode == 1 and len(refused.stderr.splitlines()[-1].split("; ")) == 2
    assert "episode 3: camera 'eye' is frozen for its last 20 steps" in refused.stderr
    assert "skip_bad=true" in refused.stderr and not (tmp_path / "model").exists()
    accepted = train(*(s for s in settings if "output" not in s), f"output={tmp_path / 'other'}", "skip_bad=true")
    assert accepted.returncode == 0, accepted.stderr
    assert list(load_model(tmp_path / "other").manifest["dataset"]["left_out"]) == ["3"]


def test_an_episode_without_its_camera_is_no_hindrance(moving_dot, tmp_path):
    dataset = record(tmp_path / "data", moving_dot, blacken)
    done = train(f"dataset={dataset}", f"output={tmp_path / 'model'}", *FAST)
    assert done.returncode == 0, done.stderr
    trained = load_model(tmp_path / "model")
    assert all(torch.isfinite(value).all() for value in trained.model.state_dict().values())
    assert np.isfinite(trained.starts.initial.numpy()).all()


def test_a_camera_that_does_not_exist_is_one_line(dataset, tmp_path):
    done = train(f"dataset={dataset}", f"output={tmp_path / 'model'}", *FAST, "cameras=[side]")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "camera 'side' does not exist: moving_dot recorded eye" in done.stderr


@pytest.mark.parametrize("wrong", ["augment=2", "family=video", "frame_updates=0"])
def test_bad_settings_are_named(wrong):
    with pytest.raises(ConfigError, match=wrong.split("=")[0]):
        load_config(TrainConfig, ["dataset=x", "output=y", wrong]).fit_config()


def test_a_camera_models_curriculum_leaves_the_shortest_horizons_out():
    assert TrainConfig(family="camera").fit_config().horizons == (4, 8, 16)
    assert TrainConfig(family="camera", longest_horizon=2).fit_config().horizons == (2,)
    assert TrainConfig().fit_config().horizons == (1, 2, 4, 8, 16)
