"""Conformal quantiles against ranks counted by hand, and against what they promise of exchangeable episodes."""

import math

import numpy as np
import pytest
import torch

from wm_gym.models.conformal import episode_shares, hierarchical_quantile


def quantile(scores, episodes, coverage=0.9):
    return hierarchical_quantile(torch.tensor(scores, dtype=torch.float64), torch.tensor(episodes), coverage)


def test_with_one_moment_of_each_episode_it_is_the_score_of_the_finite_sample_rank():
    scores = [3.0, 1.0, 2.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 10.0]
    assert quantile(scores, range(10), 0.9) == 10  # ceil(11 * 0.9) = 10
    assert quantile(scores, range(10), 0.8) == 9  # ceil(8.8)
    assert quantile(scores, range(10), 0.5) == 6  # ceil(5.5)
    assert quantile(scores[:9], range(9), 0.9) == 9  # ceil(10 * 0.9) = 9: just enough of them


def test_too_few_episodes_bound_nothing_however_many_moments_they_have():
    assert math.isinf(quantile(range(8), range(8)))  # ceil(9 * 0.9) = 9 of 8
    assert math.isinf(quantile([1.0] * 800, [n % 8 for n in range(800)]))


def test_an_episode_weighs_one_however_many_moments_it_has():
    # Masses below infinity: 1/2 at 1 and at 2 of the first episode, 1 at 3 of the second; of 3 with the one to come.
    assert episode_shares(torch.tensor([7, 7, 4])).tolist() == [0.5, 0.5, 1.0]
    assert quantile([1.0, 2.0, 3.0], [7, 7, 4], 1 / 6) == 1
    assert quantile([1.0, 2.0, 3.0], [7, 7, 4], 1 / 3) == 2
    assert quantile([1.0, 2.0, 3.0], [7, 7, 4], 2 / 3) == 3
    assert math.isinf(quantile([1.0, 2.0, 3.0], [7, 7, 4], 0.7))


@pytest.mark.parametrize("moments", [1, 4])
def test_new_episodes_are_covered_as_often_as_promised(moments):
    """Moments of an episode share a heavy-tailed cause. 400 trials of 99 episodes each: standard error 0.0016."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        cause = rng.lognormal(size=(100, 1))
        scores = cause * rng.lognormal(size=(100, moments))
        old = torch.from_numpy(scores[:99].ravel())
        bound = hierarchical_quantile(old, torch.arange(99).repeat_interleave(moments), 0.9)
        covered.append((scores[99] <= bound).mean())
    assert np.mean(covered) == pytest.approx(0.9, abs=0.045)  # three standard errors of 400 episodes
