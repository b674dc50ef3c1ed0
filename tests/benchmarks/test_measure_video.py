"""``benchmarks/measure_video.py`` as a person runs it, on a camera model with random weights."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wm_gym.models import TrainedModel
from wm_gym.models.camera_world import CameraWorld, CameraWorldConfig
from wm_gym.models.trained import StartStates
from wm_gym.models.trust import Calibration, Support
from wm_gym.physics.camera import why_no_camera
from wm_gym.physics.tasks import task_spec

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(why_no_camera() is not None, reason="no off-screen drawing here")


def run(program, *arguments):
    command = [sys.executable, str(ROOT / program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    for name, seed in (("train", 0), ("held_out", 1000)):
        settings = ["task=reacher", "task.max_episode_steps=25", "num_steps=200", f"seed={seed}", "workers=1"]
        done = run("datasets/collect_episodes.py", *settings, f"output={folder / name}")
        assert done.returncode == 0, done.stderr
    return [f"train={folder / 'train'}", f"dataset={folder / 'held_out'}"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    shape = CameraWorldConfig(
        size=3, points=1, channels=(4,), memory=4, members=2, width=8, layers=1, judge_width=8, context=2
    )
    world = CameraWorld(task_spec("reacher"), shape).eval().requires_grad_(False)
    starts, none = torch.randn(4, 1, 3), torch.zeros(4, 0, 2)
    folder = tmp_path_factory.mktemp("models") / "camera"
    TrainedModel(
        model=world,
        starts=StartStates(starts, none, starts, none),
        support=Support(-torch.ones(5), torch.ones(5), torch.zeros(5), torch.eye(5), torch.tensor(10.0)),
        calibration=Calibration.proportional(1.0, 10),
        manifest={"dataset": {"steps": 100}},
    ).save(folder)
    return f"model={folder}"


def test_every_figure_stands_in_the_result_and_a_film_beside_it(model, recordings, tmp_path):
    settings = ["horizon=20", "stride=5", "hidden=5", "readout_updates=20", "threads=1", f"output={tmp_path / 'video'}"]
    done = run("benchmarks/measure_video.py", model, *recordings, *settings)
    assert done.returncode == 0, done.stderr
    assert "fingertip, median of" in done.stdout and f"benchmark: {tmp_path / 'video'}" in done.stdout
    result = json.loads((tmp_path / "video" / "result.json").read_text())
    assert list(result["by_horizon"]) == ["1", "5", "10"]
    judged = result["by_horizon"]["10"]
    assert set(judged) == {"imagination", "shuffled actions", "last frame", "mean frame", "true frames"}
    assert judged["imagination"]["position"]["low"] <= judged["imagination"]["position"]["high"]
    assert [effect["axis"] for effect in result["effects"]] == [0, 1]
    assert result["permanence"]["hidden_steps"] == 5 and "shuffled_action_gap" in result
    assert (tmp_path / "video" / "film.mp4").stat().st_size > 1000
    assert (tmp_path / "video" / "strip.png").read_bytes()[:4] == b"\x89PNG"


def test_a_report_of_a_camera_model_shows_its_figures_and_its_film(model, recordings, tmp_path):
    settings = ["horizon=20", "stride=5", "hidden=5", "readout_updates=5", "threads=1", f"output={tmp_path / 'video'}"]
    assert run("benchmarks/measure_video.py", model, *recordings, *settings).returncode == 0
    done = run("benchmarks/compare_physics.py", model, f"output={tmp_path / 'report'}")
    assert done.returncode == 1 and "run benchmarks/measure_video.py, and give video=FOLDER" in done.stderr
    done = run("benchmarks/compare_physics.py", model, f"video={tmp_path / 'video'}", f"output={tmp_path / 'report'}")
    assert done.returncode == 0, done.stderr
    assert "position error after steps" in done.stdout
    measured = json.loads((tmp_path / "video" / "result.json").read_text())
    camera = json.loads((tmp_path / "report" / "report.json").read_text())["camera"]
    assert camera["by_horizon"] == measured["by_horizon"] and camera["effects"] == measured["effects"]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "imagined steps the fingertip in the picture is" in page
    assert "where is the robot in imagined pictures" in page and "data:video/mp4" in page
    assert run("benchmarks/check_report.py", f"report={tmp_path / 'report'}").returncode == 0
    (tmp_path / "video" / "result.json").write_text(json.dumps(measured | {"model": {"model.safetensors": "0"}}))
    done = run("benchmarks/compare_physics.py", model, f"video={tmp_path / 'video'}", f"output={tmp_path / 'report'}")
    assert done.returncode == 1 and "judged another model" in done.stderr


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("horizon=90", "no held-out episode has the 92 steps"),
        ("model=reacher", "draws no pictures"),
        ("model=inverted_pendulum_camera", "no camera 'side', which the model sees"),
    ],
)
def test_bad_input_is_one_line(model, recordings, tmp_path, setting, told):
    given = [s for s in (model, *recordings) if s.split("=")[0] != setting.split("=")[0]]
    done = run("benchmarks/measure_video.py", *given, setting, f"output={tmp_path / 'video'}")
    assert done.returncode == 1 and told in done.stderr and len(done.stderr.splitlines()) == 1
