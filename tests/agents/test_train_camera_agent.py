"""``agents/train_camera_agent.py`` as a person runs it, on a camera model with random weights."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from wm_gym.errors import ConfigError
from wm_gym.models import TrainedModel
from wm_gym.models.camera_world import CameraWorld, CameraWorldConfig
from wm_gym.models.trained import StartStates
from wm_gym.models.trust import Calibration, Support
from wm_gym.physics.camera import why_no_camera
from wm_gym.physics.tasks import task_spec
from wm_gym.policies import load_policy
from wm_gym.policies.latent_training import PixelLearner

PROGRAM = Path(__file__).parents[2] / "agents" / "train_camera_agent.py"
GATHER = PROGRAM.parents[1] / "benchmarks" / "gather_agents.py"
pytestmark = pytest.mark.skipif(why_no_camera() is not None, reason="no off-screen drawing here")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    shape = CameraWorldConfig(
        size=3, points=1, channels=(4,), memory=4, members=2, width=8, layers=1, judge_width=8, context=2
    )
    world = CameraWorld(task_spec("reacher"), shape).eval().requires_grad_(False)
    world.normalizer.low.fill_(-100.0)
    world.normalizer.high.fill_(100.0)
    starts, none = torch.randn(4, 1, 3), torch.zeros(4, 0, 2)
    folder = tmp_path_factory.mktemp("models") / "camera"
    TrainedModel(
        model=world,
        starts=StartStates(starts, none, starts, none),
        support=Support(-torch.ones(5), torch.ones(5), torch.zeros(5), torch.eye(5), torch.tensor(10.0)),
        calibration=Calibration.proportional(1.0, 10),
        manifest={"dataset": {"steps": 100}},
    ).save(folder)
    return folder


def run(*arguments):
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_an_agent_of_latent_imagination_acts_in_mujoco_from_the_camera(model, tmp_path):
    settings = [f"model={model}", "steps=400", "num_envs=4", "episodes=2", "threads=1", f"output={tmp_path / 'agent'}"]
    done = run(*settings)
    assert done.returncode == 0, done.stderr
    assert "MuJoCo, from the camera" in done.stdout and f"agent: {tmp_path / 'agent'}" in done.stdout
    trial = json.loads((tmp_path / "agent" / "result.json").read_text())["trial"]["ppo"]
    assert len(trial["physical_returns"]) == len(trial["imagined_returns"]) == len(trial["refiltered_returns"]) == 2
    assert trial["physical"]["value"] == pytest.approx(np.mean(trial["physical_returns"]), abs=1e-4)
    lost = np.mean(trial["imagined_returns"]) - np.mean(trial["refiltered_returns"])
    assert trial["filtering_costs"]["value"] == pytest.approx(lost / abs(trial["imagined"]["value"]), abs=1e-4)
    action, _ = load_policy(tmp_path / "agent").predict(np.zeros(7, np.float32))
    assert action.shape == (2,)
    assert not (tmp_path / "agent.partial").exists()
    (tmp_path / "agent.partial").mkdir()  # as a kill between the result and its cleaning leaves it
    again = run(*settings[:-2], "threads=2", settings[-1])
    assert again.returncode == 0 and "complete already" in again.stdout
    assert not (tmp_path / "agent.partial").exists()
    other = run(*settings, "gamma=0.9")
    assert other.returncode == 1 and "holds another agent" in other.stderr


def test_the_control_sees_the_same_frames(model, tmp_path):
    output = f"output={tmp_path / 'control'}"
    done = run(f"model={model}", "world=physics", "steps=64", "episodes=2", "threads=1", output)
    assert done.returncode == 0, done.stderr
    trial = json.loads((tmp_path / "control" / "result.json").read_text())["trial"]["ppo"]
    assert len(trial["physical_returns"]) == 2 and "imagined" not in trial


def test_a_control_that_was_killed_in_its_trial_is_not_trained_again(tmp_path, monkeypatch):
    task = task_spec("reacher")
    first, second = (PixelLearner(task, 64, 0) for _ in range(2))
    assert first.learn(tmp_path) > 0
    monkeypatch.setattr(PPO, "learn", None)
    assert second.learn(tmp_path) > 0
    assert np.array_equal(first.returns(1, 7), second.returns(1, 7))
    other = replace(task, cameras=(replace(task.cameras[0], name="other"),))
    with pytest.raises(ConfigError, match="other settings"):
        PixelLearner(other, 64, 0).learn(tmp_path)


def test_agents_of_both_worlds_share_a_table(model, tmp_path):
    few = [f"model={model}", "steps=64", "episodes=2", "threads=1"]
    for world, more in (("imagination", ["num_envs=4"]), ("physics", [])):
        assert run(*few, *more, f"world={world}", f"output={tmp_path / world}").returncode == 0
    command = [sys.executable, str(GATHER), f"agents=[{tmp_path / 'imagination'},{tmp_path / 'physics'}]"]
    done = subprocess.run([*command, f"output={tmp_path / 'table.json'}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["PPO in latent imagination", "PPO with CnnPolicy in MuJoCo"]
    assert [row["real_steps"] for row in rows] == [100, 64] and rows[1]["imagined_return"] is None
    assert "filtering_costs" in rows[0] and "filtering_costs" not in rows[1]


def test_a_model_without_a_camera_is_refused(tmp_path):
    done = run("model=reacher", f"output={tmp_path / 'agent'}")
    assert done.returncode == 1 and "looks through no camera" in done.stderr and len(done.stderr.splitlines()) == 1
