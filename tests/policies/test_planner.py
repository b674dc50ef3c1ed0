"""A plan for a point whose best actions are known."""

import numpy as np
import pytest

from wm_gym.errors import ConfigError
from wm_gym.policies.planner import Planner, PlannerConfig
from wm_gym.types import BoxSpec

SPACE = BoxSpec((-1.0, -2.0), (1.0, 2.0))
WANTED = np.array([0.5, -1.5])


def near_what_is_wanted(actions):
    return -np.square(actions - WANTED).sum((-1, -2))


def make(method="mppi", **settings):
    config = PlannerConfig(method=method, **{"horizon": 3, "samples": 200, "iterations": 8, **settings})
    return Planner(SPACE, config, np.random.default_rng(0))


@pytest.mark.parametrize("method", ["cem", "mppi"])
def test_it_finds_the_best_actions_of_every_situation(method):
    planner = make(method)
    plan = planner.plan(near_what_is_wanted, planner.first_guess(2))
    assert plan.shape == (2, 3, 2)
    assert np.abs(plan - WANTED).max() < 0.15


def test_actions_stay_within_their_bounds():
    planner = make()
    plan = planner.plan(lambda actions: actions.sum((-1, -2)), planner.first_guess(1))
    assert plan.max() <= 2 and plan[..., 0].max() <= 1 and plan[..., 0].min() > 0.8


def test_what_is_not_finite_is_never_chosen():
    def score(actions):
        returns = near_what_is_wanted(actions)
        return np.where(actions[..., 0, 0] > 0.6, np.nan, returns)

    planner = make("cem")
    plan = planner.plan(score, planner.first_guess(1))
    assert plan[0, 0, 0] <= 0.6 and np.isfinite(plan).all()
    hopeless = planner.plan(lambda actions: np.full(actions.shape[:2], np.nan), planner.first_guess(1))
    assert np.isfinite(hopeless).all()


def test_a_plan_never_gets_worse_than_its_guess():
    planner = make(samples=2, elites=1, iterations=1)
    best = np.tile(WANTED, (1, 3, 1))
    assert near_what_is_wanted(planner.plan(near_what_is_wanted, best)) == pytest.approx(0.0)


def test_the_rest_of_a_plan():
    plan = np.arange(6.0).reshape(1, 3, 2)
    assert Planner.advance(plan).tolist() == [[[2, 3], [4, 5], [4, 5]]]


@pytest.mark.parametrize(
    "wrong", [{"method": "guess"}, {"horizon": 0}, {"elites": 300}, {"temperature": 0.0}, {"samples": 0}]
)
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        make(**wrong)
