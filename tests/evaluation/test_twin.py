"""Twins of the shipped arm: together at first, apart where something tells them apart."""

import dataclasses

import numpy as np
import pytest
import torch

from wm_gym.errors import ActionError, ConfigError, ObservationError
from wm_gym.evaluation.twin import Parting, Twin
from wm_gym.evaluation.worlds import Followed
from wm_gym.types import TaskSpec


@pytest.fixture(scope="module")
def arm():
    twin = Twin("reacher")
    yield twin
    twin.close()


def test_a_batch_of_states_goes_both_ways(arm):
    starts = arm.resets([1, 2, 3])
    actions = np.random.default_rng(0).uniform(-1, 1, (3, 12, 2))
    twins = arm.run(starts, actions, tau=50.0)
    assert twins.imagined.shape == twins.physical.shape == (3, 13, 10)
    assert twins.imagined_rewards.shape == twins.physical_rewards.shape == (3, 12)
    assert np.array_equal(twins.imagined[:, 0], twins.physical[:, 0])
    assert twins.partings == (None, None, None) and twins.lengths.tolist() == [12, 12, 12]
    assert np.abs(twins.imagined[:, 1, :4] - twins.physical[:, 1, :4]).max() < 0.05
    closer = arm.run(starts, actions, tau=1e-6)
    assert all(parting.step == 1 and abs(parting.difference) > 1e-6 for parting in closer.partings)
    assert closer.partings[0].label.startswith(f"{closer.partings[0].dimension}")


def test_one_plan_serves_all_states_and_actions_are_clipped(arm):
    starts = arm.resets([4, 5])
    plan = np.full((6, 2), 0.5)
    both = arm.run(starts, plan)
    alone = arm.run(starts.rows([1]), plan)
    assert np.array_equal(both.physical[1], alone.physical[0])
    assert np.array_equal(arm.run(starts, plan * 1000).physical, arm.run(starts, plan * 2).physical)


class Scripted:
    """A world whose number 0 runs away after the second step, and whose number 1 is one off at the third."""

    def __init__(self, observations, ends=None):
        self.observations, self.ends = np.array(observations, float), ends

    def follow(self, starts, actions):
        rows, horizon = actions.shape[:2]
        continuation = np.ones((rows, horizon))
        if self.ends is not None:
            continuation[:, self.ends :] = 0.0
        return Followed(np.repeat(self.observations[None], rows, 0), np.zeros((rows, horizon)), continuation)


@pytest.fixture
def scripted(arm, point_mass):
    twin = Twin.__new__(Twin)
    twin.trained = point_mass
    twin._imagination = Scripted([[0.0, 0.0], [0.2, 0.0], [0.4, -1.0]])
    twin._physics = Scripted(np.zeros((3, 2)))
    return twin, dataclasses.replace(arm.resets([0]), observations=np.zeros((1, 2)))


def test_the_first_step_and_number_that_differ_by_more_than_tau(scripted):
    twin, starts = scripted
    plan = np.zeros((3, 1))
    assert twin.run(starts, plan, tau=0.1).partings == (Parting(2, 0, "0", 0.2),)
    assert twin.run(starts, plan, tau=0.3).partings == (Parting(3, 1, "1", -1.0),)
    assert twin.run(starts, plan, tau=1.0).partings == (None,)
    twin.trained.model.normalizer.std.copy_(torch.tensor([4.0, 1.0]))
    assert twin.run(starts, plan, tau=0.1).partings == (Parting(3, 1, "1", -1.0),)
    twin.trained.model.normalizer.moving[1] = False
    assert twin.run(starts, plan, tau=0.099).partings == (Parting(3, 0, "0", 0.1),)


def test_nothing_is_compared_after_the_physical_end(scripted):
    twin, starts = scripted
    twin._physics.ends = 1
    twins = twin.run(starts, np.zeros((3, 1)), tau=0.3)
    assert twins.partings == (None,) and twins.lengths.tolist() == [2]


def test_a_world_that_fails_parts_where_it_fails(scripted):
    twin, starts = scripted
    twin._imagination.observations[1, 1] = np.nan
    (parting,) = twin.run(starts, np.zeros((3, 1)), tau=5.0).partings
    assert (parting.step, parting.dimension) == (2, 1) and np.isnan(parting.difference)


def test_what_cannot_be_run_is_refused(arm, point_mass):
    starts = arm.resets([1, 2])
    with pytest.raises(ConfigError, match=r"need actions \(2, H, 2\), not \(3, 5, 2\)"):
        arm.run(starts, np.zeros((3, 5, 2)))
    with pytest.raises(ConfigError, match="tau=0"):
        arm.run(starts, np.zeros((5, 2)), tau=0)
    with pytest.raises(ActionError, match="nan"):
        arm.run(starts, np.full((5, 2), np.nan))
    with pytest.raises(ActionError, match="shape"):
        arm.run(starts, np.zeros((5, 3)))
    broken = dataclasses.replace(starts, observations=starts.observations * np.inf)
    with np.errstate(invalid="ignore"), pytest.raises(ObservationError, match="not finite"):
        arm.run(broken, np.zeros((5, 2)))
    assert isinstance(point_mass.task, TaskSpec)
    with pytest.raises(ConfigError, match="without a simulator"):
        Twin(point_mass)
