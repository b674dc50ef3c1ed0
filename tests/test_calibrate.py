"""Calibrating a finished model: what is written, what it says of itself, and what is refused."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from wm_gym.calibrate import CalibrateConfig, calibrate
from wm_gym.data.episodes import open_dataset
from wm_gym.data.licence import UNSTATED, stated_licence
from wm_gym.data.writer import DatasetWriter
from wm_gym.errors import ConfigError, DataError
from wm_gym.models import load_model
from wm_gym.testing.inputs import TASK, make_camera_model, make_episode, make_model


def record(folder, episodes=12, licence="CC0-1.0", task=TASK):
    writer = DatasetWriter(folder, task, {"seed": 0}, licence, {"toy": "1"}, "python record.py")
    for number in range(episodes):
        writer.stage(f"ep-{number}", make_episode(number))
    return writer.finish([f"ep-{number}" for number in range(episodes)])


@pytest.fixture
def place(tmp_path):
    make_model().save(tmp_path / "model")
    record(tmp_path / "data")
    return tmp_path


def settings(place, **changed):
    return CalibrateConfig(
        **{"model": f"{place}/model", "dataset": f"{place}/data", "output": f"{place}/new"} | changed
    )


def test_the_program_measures_anew_and_says_on_what(place):
    arguments = [
        f"{name}={place}/{folder}" for name, folder in (("model", "model"), ("dataset", "data"), ("output", "new"))
    ]
    done = subprocess.run(
        [sys.executable, "-m", "wm_gym.calibrate", *arguments, "stride=5"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"model: {place}/new"
    before, after = load_model(place / "model"), load_model(place / "new")
    assert all(torch.equal(value, after.model.state_dict()[name]) for name, value in before.model.state_dict().items())
    assert after.calibration.scale.shape == (2, 5) and (after.calibration.quantile < 100).all()
    made = after.manifest["calibration"]
    assert made["sha256"] == open_dataset(place / "data").digest() and made["licence"] == "CC0-1.0"
    assert (made["episodes"], made["steps"], made["windows"]) == (12, 60, 12)
    assert made["commands"][1].startswith("python -m wm_gym.calibrate model=")
    assert {name: after.manifest[name] for name in ("seed", "commands", "dataset")} == {
        name: before.manifest[name] for name in ("seed", "commands", "dataset")
    }
    table = json.loads((place / "new" / "result.json").read_text())["calibration"]["table"]
    assert [(row["horizon"], row["episodes"], row["bounded"]) for row in table] == [(1, 12, True)]


def test_the_training_recording_is_refused(place):
    model = make_model()
    manifest = {**model.manifest, "dataset": {"sha256": open_dataset(place / "data").digest()}}
    replace(model, manifest=manifest).save(place / "model")
    with pytest.raises(DataError, match="was fitted to this recording"):
        calibrate(settings(place))
    assert not (place / "new").exists()


def test_episodes_that_the_model_began_from_are_refused(place):
    model = make_model()
    known = torch.from_numpy(make_episode(3).observations[:1])
    initial = torch.cat([model.starts.initial[:4], known[None]])
    replace(model, starts=replace(model.starts, initial=initial)).save(place / "model")
    with pytest.raises(DataError, match="1 of its 12 episodes begin as one"):
        calibrate(settings(place))


def test_another_robot_is_refused(place):
    record(place / "other", task=replace(TASK, env_id="Hopper-v5", name="hopper"))
    with pytest.raises(DataError, match="records hopper, the model imagines toy"):
        calibrate(settings(place, dataset=f"{place}/other"))


def test_a_camera_that_looked_from_elsewhere_is_refused(place):
    seeing = make_camera_model()
    seeing.save(place / "model")
    (camera,) = seeing.task.cameras
    writer = DatasetWriter(
        place / "far", replace(TASK, cameras=(replace(camera, distance=3.0),)), {"seed": 0}, "CC0-1.0", {}, "record"
    )
    writer.stage("ep-0", make_episode(0, frames=True))
    writer.finish(["ep-0"])
    with pytest.raises(DataError, match=r"'top' was recorded with distance=3\.0, the model sees with None"):
        calibrate(settings(place, dataset=f"{place}/far"))


def test_a_stride_that_is_none_is_refused(place):
    with pytest.raises(ConfigError, match="stride=0"):
        calibrate(settings(place, stride=0))


def test_data_without_a_licence_are_used_only_on_request(place):
    dataset = record(place / "unlicensed", licence=" ")
    with pytest.raises(DataError, match=r"states no licence.*allow_unlicensed=true"):
        calibrate(settings(place, dataset=f"{place}/unlicensed"))
    assert stated_licence(dataset, allow_unlicensed=True) == UNSTATED
    made = calibrate(settings(place, dataset=f"{place}/unlicensed", allow_unlicensed=True)).manifest["calibration"]
    assert made["licence"] == UNSTATED
