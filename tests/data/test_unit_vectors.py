import numpy as np
import pytest

from wm_gym.data.unit_vectors import find_unit_vectors
from wm_gym.types import ObservationMap

RNG = np.random.default_rng(0)
ANGLE, OTHER = RNG.uniform(-2, 2, 500), RNG.uniform(-0.2, 0.2, 500)


def found(*columns):
    described = find_unit_vectors(np.stack(columns, axis=1).astype(float), range(len(columns)))
    return described.sin_cos, described.quaternions


def test_sines_find_their_cosines_wherever_they_stand():
    pairs, quaternions = found(np.sin(ANGLE), np.sin(OTHER), ANGLE, np.cos(ANGLE), np.cos(OTHER))
    assert pairs == ((0, 3), (1, 4)) and quaternions == ()


def test_a_quaternion_is_four_in_a_row():
    turned = RNG.normal(size=(500, 4))
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    assert found(ANGLE, *turned.T) == ((), (1,))
    assert found(turned[:, 0], ANGLE, *turned.T[1:]) == ((), ())


def test_a_wheeled_robot_that_hardly_tilts_has_a_quaternion_and_no_pair():
    turned = np.stack([np.cos(ANGLE), *RNG.normal(0, 0.01, (2, 500)), np.sin(ANGLE)], axis=1)
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    assert found(*turned.T) == ((), (0,))
    assert found(np.cos(ANGLE), np.zeros(500), np.zeros(500), np.sin(ANGLE)) == (((0, 3),), ())  # one that cannot


def test_numbers_as_a_file_holds_them_are_enough():
    assert found(np.sin(OTHER).round(4), np.cos(OTHER).round(4)) == (((0, 1),), ())


@pytest.mark.parametrize(
    "columns",
    [
        (np.zeros(500), np.ones(500)),  # what never moves tells nothing
        (1 + 1e-4 * RNG.normal(size=500), 1e-2 * RNG.normal(size=500)),  # a height of a metre, a small speed
        (ANGLE, OTHER),
        (ANGLE > 0, ANGLE <= 0),  # two flags, of which one is up
        (2 * np.sin(ANGLE), 2 * np.cos(ANGLE)),
    ],
)
def test_what_is_near_one_by_chance_is_left_alone(columns):
    assert found(*columns) == ((), ())


def test_only_plain_numbers_are_asked():
    states = np.stack([np.sin(ANGLE), np.cos(ANGLE)], axis=1)
    assert find_unit_vectors(states, [0]) == ObservationMap()
