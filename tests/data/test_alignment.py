"""Which row's action explains a change, on a joint whose answer is known."""

import numpy as np
import pytest

from wm_gym.data.alignment import find_alignment


def swing(seed, lag, memory=0.0, feedback=0.0, rows=60):
    """A joint under noise with a memory, and a controller; its log's actions stand ``lag`` rows off."""
    rng, q, v, noise = np.random.default_rng(seed), 0.3, 0.0, 0.0
    states, actions = [], []
    for _ in range(rows):
        noise = memory * noise + np.sqrt(1 - memory**2) * rng.normal()
        u = noise - feedback * (4 * q + v)
        states.append((q, v))
        actions.append([u])
        v += 0.05 * (8 * u - 2 * q - v)
        q += 0.05 * v
    return np.array(states), np.roll(np.array(actions), lag, axis=0)


@pytest.mark.parametrize("lag", [-1, 0, 1])
@pytest.mark.parametrize(("memory", "feedback"), [(0.0, 0.0), (0.9, 0.0), (0.0, 1.0)])
def test_the_lag_is_found(lag, memory, feedback):
    logged = [swing(seed, lag, memory, feedback) for seed in range(8)]
    found = find_alignment(*zip(*logged, strict=True))
    assert found.lag == lag and found.certain == (lag != 0)
    assert (found.margin > 0.1) == (lag != 0) and found.shares[lag] > 0.3


def test_positions_alone_raise_no_alarm():
    logged = [swing(seed, 0) for seed in range(8)]
    assert not find_alignment([s[:, :1] for s, _ in logged], [a for _, a in logged]).certain


def test_too_few_rows_say_nothing():
    assert find_alignment(*zip(swing(0, 0, rows=12), strict=True)) is None


def test_few_episodes_are_cut_into_blocks():
    assert find_alignment(*zip(swing(0, 1, rows=300), swing(1, 1, rows=300), strict=True)).lag == 1
