import math

import pytest
import torch

from wm_gym.models.state_ensemble import StateEnsemble, StateEnsembleConfig
from wm_gym.models.temperature import CANDIDATES, choose_temperature, energy_score
from wm_gym.types import BoxSpec, Segment, TaskSpec

ROWS = 4000


@pytest.fixture
def drift():
    """A model that stands still with a predicted standard deviation of exp(-2), and knows nothing else."""
    box = BoxSpec((-math.inf,), (math.inf,))
    model = StateEnsemble(
        TaskSpec("drift", box, BoxSpec((-1.0,), (1.0,)), 0.1, 1), StateEnsembleConfig(members=2, width=4)
    )
    model.normalizer.low.fill_(-10)
    model.normalizer.high.fill_(10)
    with torch.no_grad():
        for weight in model.dynamics.weights:
            weight.zero_()
        model.dynamics.biases[-1].copy_(torch.tensor([0.0, -4.0]))
    return model.eval()


def recorded(noise):
    observations = torch.zeros(ROWS, 2, 1)
    observations[:, 1, 0] = noise * torch.randn(ROWS, generator=torch.Generator().manual_seed(1))
    ones = torch.ones(ROWS, 1)
    return Segment(observations, ones.unsqueeze(-1), ones, ones * 0, ones)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_the_share_that_the_data_show_is_chosen(drift, share):
    sigma = math.exp(-2)
    scores = choose_temperature(drift, recorded(share * sigma), seed=0)
    assert drift.temperature.item() == pytest.approx(share)
    assert set(scores) == {str(candidate) for candidate in CANDIDATES}


def test_the_energy_score_of_a_gaussian_worked_by_hand(drift):
    """For X, X', y ~ N(0, s): E|X - y| - E|X - X'| / 2 = s / sqrt(pi), as |N(0, s sqrt 2)| has mean 2 s / sqrt(pi)."""
    sigma = math.exp(-2)
    score = energy_score(drift, recorded(sigma), torch.Generator().manual_seed(0))
    assert score.item() == pytest.approx(sigma / math.sqrt(math.pi), rel=0.05)
