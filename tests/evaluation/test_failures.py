"""Robots that break on purpose: before the onset nothing differs, after it what was asked for does."""

import numpy as np
import pytest

from wm_gym.evaluation.failures import FailingRobot, Failure, failures, onsets
from wm_gym.physics.tasks import task_spec

SPREAD = np.array([0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 2.0, 2.0, 0.1, 0.1])
"""Of Reacher: the target (numbers 4 and 5) never moves."""
BROKEN = {f"{failure.name} {failure.amount}": failure for failure in failures(SPREAD, np.full(4, 2.0), "body0")}


class Waving:
    def act(self, observation, episodes, step):
        return np.full((1, 2), 0.3 * np.sin(step), np.float32)


@pytest.fixture(scope="module")
def robot():
    robot = FailingRobot(task_spec("reacher", cameras=[]), SPREAD)
    yield robot
    robot.close()


@pytest.fixture(scope="module")
def whole(robot):
    return robot.play(Waving(), 5, Failure("none"), 100, 20)


def test_an_unbroken_robot_does_what_mujoco_says(whole):
    assert len(whole.episode) == 20 and whole.errors.max() < 1e-5
    assert whole.episode.truncated and not whole.episode.terminated and whole.episode.qpos.shape == (21, 4)


@pytest.mark.parametrize("name", [name for name in BROKEN if not name.startswith("none")])
def test_what_breaks_does_so_at_its_onset_and_is_mended_afterwards(robot, whole, name):
    run = robot.play(Waving(), 5, BROKEN[name], 8, 20)
    assert np.array_equal(run.episode.observations[:8], whole.episode.observations[:8])
    assert run.errors[:7].max() < 1e-5
    same = robot.play(Waving(), 5, Failure("none"), 100, 20)
    assert np.array_equal(same.episode.observations, whole.episode.observations)
    if name.startswith("friction"):  # Reacher touches nothing
        assert run.errors.max() < 1e-5
    elif name.startswith("payload"):  # and most of its inertia sits in its motors
        assert 0 < run.errors[7:].max() < 1e-3
    else:
        assert run.errors[7:].max() > 1e-4
    changed = (run.episode.observations[8:] != whole.episode.observations[8 : len(run.episode) + 1]).any(0)
    if name.startswith("sensor"):
        assert changed.sum() <= 1 and not changed[4:6].any()


def test_a_reading_that_is_no_number_ends_the_episode(robot):
    run = robot.play(Waving(), 5, BROKEN["sensor not a number "], 8, 20)
    assert len(run.episode) == 8 and np.isnan(run.episode.observations[8]).sum() == 1 and run.errors[7] == 10.0


def test_a_payload_is_put_on_the_trunk(robot):
    """Reacher has no torso; Hopper has one, and a heavier foot."""
    assert robot.trunk == "body0"
    hopper = FailingRobot(task_spec("hopper", cameras=[]), np.ones(11))
    assert hopper.trunk == "torso"
    hopper.close()


def test_a_stuck_sensor_shows_what_it_showed_last(robot):
    run = robot.play(Waving(), 5, BROKEN["sensor stuck at its last value"], 8, 20)
    still = (np.diff(run.episode.observations[7:], axis=0) == 0).all(0)
    assert still[[4, 5]].all() and still.sum() == 3


def test_failures_strike_in_the_first_half_and_belong_to_the_seed():
    found = onsets(range(100), 50)
    assert min(found) >= 5 and max(found) < 25 and found == onsets(range(100), 50) and len(set(found)) > 10
