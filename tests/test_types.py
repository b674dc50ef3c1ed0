"""A task description may come from somebody else's file: what is wrong with it is met when it is read."""

import copy
from dataclasses import replace

import pytest

from wm_gym.types import BoxSpec, CameraSpec, ObservationMap, TaskSpec

TASK = TaskSpec(
    name="toy",
    observation_space=BoxSpec((-1.0, -float("inf"), 0.0, 0.0), (1.0, float("inf"), 2.0, 2.0)),
    action_space=BoxSpec((-1.0,), (1.0,)),
    control_dt=0.02,
    max_episode_steps=50,
    env_id="Toy-v1",
    env_kwargs={"x": 1},
    cameras=(CameraSpec("top", lookat=(0.0, 0.0, 1.0), distance=2.0),),
    observation_map=ObservationMap(
        sin_cos=((0, 1),),
        angles=(2,),
        qpos=(
            {"kind": "angle", "sin": 0, "cos": 1},
            {"kind": "fitted", "weights": [1.0, 2.0, 3.0, 4.0], "offset": 0.5, "r2": 1.0},
            {"kind": "constant", "value": 0.0},
        ),
    ),
)


def test_it_comes_back_as_it_was():
    assert TaskSpec.from_dict(TASK.to_dict()) == TASK


CAMERA = TASK.to_dict()["cameras"][0]


def test_a_camera_of_one_sample_is_written_as_before_there_were_samples():
    assert "samples" not in CAMERA
    smooth = replace(TASK, cameras=(replace(TASK.cameras[0], samples=4),))
    assert smooth.to_dict()["cameras"][0]["samples"] == 4
    assert TaskSpec.from_dict(smooth.to_dict()) == smooth


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("name",), 3),
        (("env_id",), ["Toy-v1"]),
        (("env_kwargs",), [1]),
        (("control_dt",), 0),
        (("control_dt",), float("nan")),
        (("control_dt",), 1e-300),
        (("control_dt",), "fast"),
        (("max_episode_steps",), 0),
        (("max_episode_steps",), 2**63),
        (("max_episode_steps",), 1.5),
        (("observation_space", "low"), [0.0]),
        (("observation_space", "low", 0), 2.0),
        (("action_space", "high", 0), "nan"),
        (("action_space", "high", 0), None),
        (("action_space", "high", 0), "-inf"),
        (("observation_space", "low", 1), 1e308),
        (("observation_map", "angles"), [4]),
        (("observation_map", "angles"), [-1]),
        (("observation_map", "angles"), ["0"]),
        (("observation_map", "sin_cos"), [[0, 9]]),
        (("observation_map", "sin_cos"), [[0]]),
        (("observation_map", "quaternions"), [1]),
        (("observation_map", "qpos", 0), "angle"),
        (("observation_map", "qpos", 0, "sin"), 4),
        (("observation_map", "qpos", 1, "weights"), [1.0]),
        (("observation_map", "qpos", 1, "offset"), "big"),
        (("cameras", 0, "name"), "../../etc"),
        (("cameras", 0, "name"), ""),
        (("cameras", 0, "width"), 10**9),
        (("cameras", 0, "height"), 0),
        (("cameras", 0, "samples"), 9),
        (("cameras", 0, "samples"), 2.0),
        (("cameras", 0), {**CAMERA, "width": 4096, "samples": 2}),
        (("cameras", 0, "lookat"), [1.0]),
        (("cameras", 0, "fixed"), 3),
        (("cameras", 0, "_target_"), "os.system"),
        (("cameras",), [{"name": "top"}]),
        (("_target_",), "os.system"),
    ],
    ids=str,
)
def test_what_is_malformed_is_refused(path, value):
    plain = copy.deepcopy(TASK.to_dict())
    plain["cameras"], level = list(plain["cameras"]), plain
    plain["observation_map"]["qpos"] = list(plain["observation_map"]["qpos"])
    for step in path[:-1]:
        level = level[step]
    level[path[-1]] = value
    with pytest.raises((TypeError, KeyError, ValueError)):
        TaskSpec.from_dict(plain)


def test_two_cameras_of_one_name_are_refused():
    plain = TASK.to_dict()
    plain["cameras"] = [plain["cameras"][0]] * 2
    with pytest.raises(ValueError, match="the same name"):
        TaskSpec.from_dict(plain)
