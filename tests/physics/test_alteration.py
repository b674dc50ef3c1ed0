"""An altered robot: what its drives let through, when a command arrives, and what is drawn for an episode."""

import numpy as np
import pytest

from wm_gym.errors import ConfigError
from wm_gym.physics.alteration import Alteration, Ranges, make_altered, scale
from wm_gym.physics.tasks import get_physics_state, make_physics, physics_of, task_spec

TASK = task_spec("reacher", cameras=())
"""A control step is two simulation steps of 10 ms."""
NAMES = ("friction", "damping", "gain", "delay", "dead_zone")


def test_a_drive_with_play_swallows_small_commands_and_shortens_large_ones():
    drive = Alteration(dead_zone=0.1).drive
    reach = np.array([2.0])
    found = [float(drive(np.array([command]), reach)[0]) for command in (0.0, 0.2, -0.2, 0.5, -2.0)]
    assert found == pytest.approx([0.0, 0.0, 0.0, 0.3, -1.8])
    assert Alteration().drive(np.array([0.01]), reach)[0] == 0.01


def given(late, actions):
    """What the motors were given at the end of each control step, and how far the arm went."""
    robot = make_altered(TASK, Alteration(delay=late), memory=2)
    robot.reset(seed=0)
    seen = []
    for action in actions:
        robot.step(np.full(2, action))
        seen.append(float(physics_of(robot).data.ctrl[0]))
    speed = get_physics_state(robot)[1][0]
    robot.close()
    return seen, speed


def test_a_command_arrives_after_the_delay_and_until_then_there_is_none():
    assert given(0.0, [0.1, 0.2, 0.3])[0] == pytest.approx([0.1, 0.2, 0.3])
    assert given(0.02, [0.1, 0.2, 0.3])[0] == pytest.approx([0.0, 0.1, 0.2])
    assert given(0.04, [0.1, 0.2, 0.3])[0] == pytest.approx([0.0, 0.0, 0.1])


def test_half_a_control_step_late_is_half_a_control_step_of_the_older_command():
    """The motors turn to the new command amid the step: the speed lies between those of no delay and a whole one."""
    seen, speed = given(0.01, [1.0])
    assert seen == [1.0]
    assert given(0.02, [1.0])[1] < speed < given(0.0, [1.0])[1]


def test_a_delay_is_rounded_to_simulation_steps():
    assert [Alteration(delay=late).delay_steps(0.01) for late in (0.0, 0.004, 0.02, 0.026)] == [0, 0, 2, 3]


def test_an_unaltered_robot_does_what_mujoco_does():
    robot, plain = make_altered(TASK, Alteration(), memory=1), make_physics(TASK)
    first, _ = robot.reset(seed=3)
    assert np.array_equal(first[:-2], plain.reset(seed=3)[0]) and not first[-2:].any()
    for step in range(5):
        action = np.full(2, 0.1 * step, np.float32)
        observation, reward, *_ = robot.step(action)
        expected, wanted, *_ = plain.step(action)
        assert np.array_equal(observation[:-2], expected) and reward == pytest.approx(wanted)
        assert observation[-2:] == pytest.approx(action)
    robot.close(), plain.close()


def test_the_last_commands_are_observed_the_newest_first_and_forgotten_at_a_reset():
    robot = make_altered(TASK, Alteration(delay=0.02), memory=2)
    robot.reset(seed=0)
    robot.step(np.array([0.1, 0.2]))
    observation, *_ = robot.step(np.array([0.3, 7.0]))  # beyond the motor's range
    assert observation[10:] == pytest.approx([0.3, 1.0, 0.1, 0.2])
    assert robot.observation_space.shape == observation.shape and robot.observation_space.high[-1] == 1.0
    assert not robot.reset()[0][10:].any()
    robot.step(np.zeros(2))
    assert not physics_of(robot).data.ctrl.any()  # what was under way is gone
    robot.close()


def test_factors_multiply_the_nominal_model_and_are_taken_back():
    ranges = Ranges(friction=(0.5, 0.9), damping=(2.0, 3.0), gain=(0.1, 0.2))
    robot = make_altered(TASK, ranges)
    model = physics_of(robot).model
    nominal = {name: getattr(model, name).copy() for name in ("geom_friction", "dof_damping", "actuator_gear")}
    robot.reset(seed=1)
    for _ in range(2):
        robot.reset()
        drawn = robot.alteration
        assert np.allclose(model.geom_friction, drawn.friction * nominal["geom_friction"])
        assert np.allclose(model.dof_damping, drawn.damping * nominal["dof_damping"])
        assert np.allclose(model.actuator_gear, drawn.gain * nominal["actuator_gear"])
    scale(model, "mass", 2.0)
    robot.close()


def test_each_episode_draws_within_the_ranges_and_a_seed_draws_the_same_again():
    ranges = Ranges((0.5, 1.5), (0.5, 1.5), (0.5, 1.5), (0.0, 0.04), (0.0, 0.2))
    drawn = [ranges.draw(np.random.default_rng(seed)).to_dict() for seed in range(200)]
    for name in NAMES:
        values, (low, high) = [row[name] for row in drawn], getattr(ranges, name)
        assert low <= min(values) < low + 0.05 * (high - low) and high - 0.05 * (high - low) < max(values) <= high
    robot = make_altered(TASK, ranges)
    seen = []
    for seed in (5, None, 5):
        robot.reset(seed=seed)
        seen.append(robot.alteration)
    assert seen[0] == seen[2] != seen[1]
    robot.close()


def test_ranges_say_which_secrets_they_hold():
    ranges = Ranges(gain=(0.5, 1.5), delay=(0.0, 0.01))
    assert ranges.holds(Alteration(gain=0.7, delay=0.02, damping=1.5)) == ["friction", "gain", "dead_zone"]


@pytest.mark.parametrize("wrong", [{"dead_zone": 1.0}, {"delay": -0.1}, {"gain": float("nan")}])
def test_what_no_robot_is_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Alteration(**wrong)


def test_a_range_that_ends_before_it_begins_is_refused():
    with pytest.raises(ConfigError, match="gain"):
        Ranges(gain=(1.5, 0.5))
