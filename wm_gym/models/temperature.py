"""How much of its own variance a state model should sample, chosen on validation episodes by a proper score.

A likelihood cannot tell noise of the robot from error of the network. Sampled as white noise, the second kind is added
anew at every step, although it is persistent and the member that a rollout keeps carries it already.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wm_gym.models.state_ensemble import StateEnsemble
from wm_gym.types import Observation, Segment

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
    first, second = (_sampled_rollout(model, segment, generator) for _ in range(2))
    truth, distance = segment.observations[:, 1:], model.normalizer.error
    to_truth = (distance(first - truth) + distance(second - truth)) / 2
    score = (to_truth - distance(first - second) / 2) * segment.mask
    return score.sum(0) / segment.mask.sum(0).clamp(min=1)


def _sampled_rollout(model: StateEnsemble, segment: Segment, generator: torch.Generator) -> Tensor:
    rows, length = segment.mask.shape

    def noise() -> Tensor:
        drawn = torch.rand(rows, model.noise_size, generator=generator).clamp(1e-6, 1 - 1e-6)
        return drawn.to(segment.actions.device)

    latent = model.observe(None, None, model.encode(Observation(state=segment.observations[:, 0])), noise())
    states = []
    for step in range(length):
        latent = model.imagine(latent, segment.actions[:, step], noise())
        shown = model.predict(latent).state
        assert shown is not None
        states.append(shown)
    return torch.stack(states, 1)
