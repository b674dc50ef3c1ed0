"""Conformal quantiles: bounds that hold with a stated probability whatever the distribution of the scores is."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def hierarchical_quantile(scores: Tensor, episodes: Tensor, coverage: float) -> float:
    """The score that a moment of a new episode exceeds with a probability of at most ``1 - coverage``.

    Steps of one episode are not exchangeable, but episodes are. So the K episodes share the mass alike, and a further
    share of 1 / (K + 1) lies at infinity, for the episode to come; an episode's share is divided among its moments.
    This is hierarchical conformal prediction (Lee, Barber and Willett 2023, "Distribution-free inference with
    hierarchical data", section 3). With one moment of each episode it is the split conformal quantile, the score of
    rank ceil((K + 1) coverage) (Angelopoulos and Bates 2021, "A gentle introduction to conformal prediction",
    section 1).

    Args:
        scores: (n,) finite, larger for a worse prediction.
        episodes: (n,) integers: the episode of each score.
        coverage: in (0, 1).

    Returns:
        One of the scores, or infinity: fewer than coverage / (1 - coverage) episodes bound nothing.
    """
    share = episode_shares(episodes)
    count = share.sum()  # K
    order = scores.argsort()
    held = share[order].cumsum(0)
    place = int((held < coverage * (count + 1) - 1e-9).sum())  # as many lie below it
    return float(scores[order][place]) if place < len(scores) else math.inf


def episode_shares(episodes: Tensor) -> Tensor:
    """(n,) float64 weights that are 1 / m for each of the m moments of an episode: every episode weighs 1 in all."""
    _, owner, moments = torch.unique(episodes, return_inverse=True, return_counts=True)
    share: Tensor = 1.0 / moments[owner].double()
    return share
