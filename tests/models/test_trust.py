"""The support of the data, and the calibration against errors that are known."""

import pytest
import torch

from wm_gym.models.trust import Calibration, Support, _calibrate
from wm_gym.types import Segment


def test_support_is_a_box_and_an_ellipsoid_in_it():
    along = torch.linspace(-1, 1, 101)
    support = Support.measure(torch.stack([along, along], -1) + 0.05 * torch.randn(101, 2), torch.zeros(101, 1))
    no_action = torch.zeros(1, 1)
    assert support.contains(torch.tensor([[0.5, 0.5]]), no_action).item()
    assert not support.contains(torch.tensor([[0.9, -0.9]]), no_action).item()  # in the box, far from the data
    assert not support.contains(torch.tensor([[2.0, 2.0]]), no_action).item()
    assert not support.contains(torch.tensor([[0.5, 0.5]]), torch.ones(1, 1)).item()  # an action never seen


def test_distance_is_measured_from_the_middle_of_the_recorded_states(point_mass):
    # Mean 0, whitening 1, radius 10: the plain length over ten.
    assert point_mass.support.distance(torch.tensor([[3.0, 4.0]])).item() == pytest.approx(0.5)
    assert point_mass.support.distance(torch.zeros(2, 3, 2)).shape == (2, 3)


def standing_still(rows, steps=3):
    """Recorded truth stands still at x = 0.5 while the fake accelerates."""
    observations = torch.zeros(rows, steps + 1, 2)
    observations[..., 0] = 0.5
    ones = torch.ones(rows, steps)
    return Segment(observations, torch.ones(rows, steps, 1), ones, ones * 0, ones)


def measure(trained, segment, episodes=None):
    origins = torch.arange(len(segment.mask)) if episodes is None else torch.tensor(episodes)
    return Calibration.measure(trained.model, trained.support, [(segment, origins)], torch.Generator().manual_seed(0))


def test_calibration_turns_spread_into_the_error_that_was_measured(point_mass):
    """The fake's spread is x / 10, so error and spread are known; all moments are alike, so no exponent is learnt."""
    measured = measure(point_mass, standing_still(9))
    # After one step of the mean: x = 0.51, v = 0.1; error = sqrt((0.01^2 + 0.1^2) / 2), spread = 0.051.
    error = ((0.01**2 + 0.1**2) / 2) ** 0.5
    assert measured.scale[1, 0].item() == pytest.approx(error / 0.051, rel=1e-4)
    assert measured.exponents[1].tolist() == [[1.0, 0.0]] * 3
    assert measured.quantile[1].tolist() == pytest.approx([1.0] * 3)  # none of nine exceeds what is expected
    assert measured.horizon.item() == 3
    first = torch.tensor([1])
    expected = measured.expected_error(torch.tensor([0.051]), torch.tensor([0.3]), first, deterministic=True)
    assert expected.item() == pytest.approx(error, rel=1e-4)
    assert measured.bound(expected, first, deterministic=True).item() == pytest.approx(error, rel=1e-4)


def test_nothing_is_doubted_before_the_first_step_and_no_bound_exceeds_the_largest_error(point_mass):
    measured = measure(point_mass, standing_still(8))  # eight episodes bound nothing
    spread, distance = torch.tensor([0.051, 0.051, 1e9]), torch.full((3,), 0.3)
    elapsed = torch.tensor([0, 1, 10**6])
    expected = measured.expected_error(spread, distance, elapsed, deterministic=True)
    assert expected[0] == 0 and expected[2] == 10
    assert measured.bound(expected, elapsed, deterministic=True).tolist() == [0, 10, 10]


def test_episodes_that_ended_count_for_nothing_after_their_end(point_mass):
    segment = standing_still(9)
    segment.mask[:3, 1:] = 0
    segment.observations[:3, 2:] = 99.0
    assert measure(point_mass, segment).scale[1].tolist() == pytest.approx(
        measure(point_mass, standing_still(9)).scale[1].tolist()
    )


def test_trust_ends_where_half_a_deviation_is_lost(point_mass):
    # v = n / 10 after n steps, x = 0.5 + n (n + 1) / 200: the error is 0.449 at the sixth and 0.533 at the seventh.
    assert measure(point_mass, standing_still(9, steps=9)).horizon.item() == 6


def test_exponents_are_those_that_the_errors_follow():
    """Error = 3 spread^0.5 distance^2 exactly: the fit finds it, and the ridge of one episode hardly bends it."""
    generator = torch.Generator().manual_seed(0)
    spread, distance = (torch.rand(2000, generator=generator) + 0.1 for _ in range(2))
    error = 3 * spread**0.5 * distance**2
    scale, exponents, quantile, average = _calibrate(torch.stack([error, spread, distance]), torch.arange(2000))
    assert exponents == pytest.approx([0.5, 2.0], abs=0.01) and scale == pytest.approx(3.0, rel=0.01)
    assert quantile == pytest.approx(1.0, abs=0.02) and average == pytest.approx(error.mean().item(), rel=1e-5)


def test_doubt_never_falls_with_the_distance():
    generator = torch.Generator().manual_seed(0)
    spread, distance = (torch.rand(500, generator=generator) + 0.1 for _ in range(2))
    _, exponents, _, _ = _calibrate(torch.stack([spread / distance, spread, distance]), torch.arange(500))
    assert exponents[1] == 0 and exponents[0] == pytest.approx(1.0, abs=0.1)
