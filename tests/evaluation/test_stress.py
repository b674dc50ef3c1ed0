"""The hunt finds nothing in a sound world, and finds what is put into a broken one."""

import dataclasses

import numpy as np
import pytest
import torch

from wm_gym.envs.imagination import Imagination
from wm_gym.evaluation.stress import WAYS, Face, Stress
from wm_gym.testing import inputs


@pytest.fixture(scope="module")
def toy():
    return inputs.make_model()


@pytest.mark.parametrize("face", ["single", "vector", "sb3"])
@pytest.mark.parametrize("way", WAYS)
def test_a_sound_world_shows_nothing_wrong(toy, way, face):
    done = []
    tally = Stress(toy, seed=0, samples=4).run(way, Face(face, toy, 5), 60, done.append)
    assert tally.steps >= 60 and sum(done) == tally.steps
    assert (tally.not_finite, tally.unbounded, tally.faults) == (0, 0, [])
    assert (tally.refused > 0) == (way == "fuzzed") and tally.largest_uncertainty > 0


def test_bounds_that_are_left_are_counted(point_mass):
    """Pushed in one direction a mass without friction leaves any bounds; its reward, -x^2, knows none."""
    tally = Stress(point_mass, seed=0).run("saturated", Face("vector", point_mass, 3), 3000)
    assert tally.ended_by_bound > 0 and tally.unbounded > 0 and tally.not_finite == 0


@pytest.mark.parametrize(("reward", "counted"), [(float("nan"), "not_finite"), (1e6, "unbounded")])
def test_a_broken_reward_is_met(toy, monkeypatch, reward, counted):
    whole = Imagination._reward
    monkeypatch.setattr(Imagination, "_reward", lambda self, *args: whole(self, *args) * 0 + reward)
    tally = Stress(toy, seed=0).run("random", Face("vector", toy, 4), 8)
    assert getattr(tally, counted) >= 8


def test_a_broken_observation_is_met(toy, monkeypatch):
    monkeypatch.setattr(Imagination, "_show", lambda self, latent, said: said.state * torch.nan)
    tally = Stress(toy, seed=0).run("random", Face("sb3", toy, 4), 8)
    assert tally.not_finite >= 8


def test_what_is_swallowed_or_raises_a_foreign_error_is_a_fault(toy, monkeypatch):
    face, stress = Face("vector", toy, 2), Stress(toy, seed=0)
    face.reset(seed=0)
    inputs_of = {"nonsense": lambda: None, "crash": lambda: {}["key"], "change": lambda: _step_then_refuse(face)}
    monkeypatch.setattr(stress, "_bad_inputs", lambda face: inputs_of)
    tally = stress.run("fuzzed", face, 200)
    said = " ".join(tally.faults)
    assert "nonsense was accepted" in said and "crash raised KeyError" in said and "but changed the state" in said


def _step_then_refuse(face):
    face.step(np.zeros((2, 2)))
    face.step(np.full((2, 2), np.nan))


def test_a_penalty_is_taken_out_before_rewards_are_held_to_their_bounds(toy):
    costly = dataclasses.replace(
        toy, calibration=dataclasses.replace(toy.calibration, scale=toy.calibration.scale * 1e4)
    )
    tally = Stress(costly, seed=0).run("random", Face("sb3", costly, 4), 40)
    assert tally.unbounded == 0 and tally.largest_uncertainty == 10.0, "the most that is ever reported"
