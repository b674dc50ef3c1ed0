"""MuJoCo's system identification finds what it has a number for."""

import sys

import numpy as np
import pytest

from wm_gym.errors import ConfigError, DataError
from wm_gym.physics.alteration import Alteration, make_altered
from wm_gym.physics.behaviours import make_behaviour
from wm_gym.physics.identification import Motion, identify
from wm_gym.physics.tasks import get_physics_state, task_spec

TASK = task_spec("reacher", max_episode_steps=30, cameras=())
SECRET = Alteration(damping=1.5, gain=0.7, delay=0.01)


def motion(robot, seed):
    behaviour = make_behaviour("smooth", TASK.action_space)
    behaviour.begin(np.random.default_rng(seed))
    observation, _ = robot.reset(seed=seed)
    states, commands = [np.concatenate(get_physics_state(robot))], []
    for _ in range(30):
        commands.append(behaviour.act(observation))
        observation, *_ = robot.step(commands[-1])
        states.append(np.concatenate(get_physics_state(robot)))
    return Motion(np.array(states), np.array(commands))


@pytest.fixture(scope="module")
def motions():
    robot = make_altered(TASK, SECRET)
    found = [motion(robot, seed) for seed in range(3)]
    robot.close()
    return found


def test_factors_and_delay_are_found_exactly(motions):
    pytest.importorskip("tabulate", reason="mujoco.sysid needs it")
    found = identify(TASK, motions, longest_delay=0.02, stretches=12)
    assert found.sought == ("damping", "gain")  # the arm touches nothing: contact friction has no part in it
    for name, value in SECRET.to_dict().items():
        assert found.alteration.to_dict()[name] == pytest.approx(value, rel=1e-4)
    assert found.error < 1e-4 < 0.01 < found.error_before


def test_logs_that_cannot_tell_are_refused(motions):
    short = Motion(motions[0].states[:4], motions[0].commands[:3])
    with pytest.raises(DataError, match="longer than 7 steps"):
        identify(TASK, [short])
    with pytest.raises(DataError, match="8 numbers"):
        identify(TASK, [Motion(motions[0].states[:, :3], motions[0].commands)])


def test_a_toolbox_without_its_needs_is_said_to_lack_them(motions, monkeypatch):
    import types

    monkeypatch.setitem(sys.modules, "mujoco.sysid", types.ModuleType("mujoco.sysid"))
    with pytest.raises(ConfigError, match=r"wm_gym\[sysid\]"):
        identify(TASK, motions)
