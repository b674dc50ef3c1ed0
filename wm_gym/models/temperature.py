"""How much of its own variance a state model should sample, chosen on validation episodes by a proper score.

A likelihood cannot tell noise of the robot from error of the network. Sampled as white noise, the second kind is added
anew at every step, although it is persistent and the member that a rollout keeps carries it already.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wm_gym.models.open_loop import after_context, mean_of_recorded, play_open_loop
from wm_gym.models.state_ensemble import StateEnsemble
from wm_gym.types import Segment

CANDIDATES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)


@torch.no_grad()
def choose_temperature(model: StateEnsemble, segment: Segment, seed: int) -> dict[str, float]:
    """Set the model's temperature to the candidate of the lowest energy score, and return the scores of all."""
    scores = {}
    for candidate in CANDIDATES:
        model.temperature.fill_(candidate)
        generator = torch.Generator().manual_seed(seed)  # the same draws for every candidate
        scores[candidate] = energy_score(model, segment, generator).mean().item()
    model.temperature.fill_(min(scores, key=lambda candidate: scores[candidate]))
    return {str(candidate): round(score, 5) for candidate, score in scores.items()}


@torch.no_grad()
def energy_score(model: StateEnsemble, segment: Segment, generator: torch.Generator) -> Tensor:
    """Energy score by horizon (L,) of sampled rollouts: E|X - y| - E|X - X'| / 2 with the nRMSE as distance.

    It is lowest for the true distribution (Gneiting and Raftery 2007, section 4.3); estimated from two rollouts a row.
    """
    first, second = (play_open_loop(model, segment, generator)[0] for _ in range(2))
    (truth, mask), distance = after_context(model, segment), model.normalizer.error
    to_truth = (distance(first - truth) + distance(second - truth)) / 2
    return mean_of_recorded(to_truth - distance(first - second) / 2, mask)
