"""Physics episodes saved, worked by hand."""

import numpy as np
import pytest

from wm_gym.evaluation.prediction_powered import powered_mean


def test_a_perfect_imagination_by_hand():
    # weight = 2 / ((1 + 2/4) * 2) = 2/3; variance = (2/9) / 2 + (4/9) * (4/3) / 4 = 7/27, alone it would be 1.
    found = powered_mean(np.array([0.0, 2.0]), np.array([0.0, 2.0]), np.array([0.0, 2.0, 0.0, 2.0]))
    assert found.weight == pytest.approx(2 / 3) and found.value == pytest.approx(1.0)
    assert found.saved == pytest.approx(2 * 27 / 7 - 2)
    assert found.high - found.value == pytest.approx(1.959964 * np.sqrt(7 / 27))


def test_the_bias_of_the_imagination_is_corrected():
    generator = np.random.default_rng(0)
    starts, others = generator.normal(size=50), generator.normal(size=5000)
    found = powered_mean(starts, starts + 100, others + 100)
    assert found.low < 0 < found.high and found.saved > 1000
    assert found.high - found.low < 0.1  # fifty physical returns alone give 0.55


def test_an_imagination_that_knows_nothing_is_not_used():
    found = powered_mean(np.array([1.0, 2.0, 3.0]), np.array([5.0, 5.0, 5.0]), np.array([5.0, 5.0]))
    assert found.weight == 0 and found.value == 2 and found.saved == 0
    against = powered_mean(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0]), np.array([0.0, 9.0]))
    assert against.weight == 0 and against.value == 2
