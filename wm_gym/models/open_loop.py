"""Recorded actions played in imagination from a recorded start: what prediction is judged and calibrated on."""

from __future__ import annotations

import torch
from torch import Tensor

from wm_gym.models.world_model import WorldModel
from wm_gym.types import Segment


@torch.no_grad()
def play_open_loop(
    model: WorldModel, segment: Segment, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Observe the context of B windows of L steps, C steps after their first, and imagine all that follows.

    Args:
        model: C is its ``context``; F the size of its embeddings, which a state model's raw states are.
        segment: the starts and the actions; padded steps are played too, the caller masks them.
        generator: draws members and noise; None plays the mean.

    Returns:
        Imagined features (B, L-C, F) and spreads (B, L-C): see :func:`after_context` for what was recorded of them.

    Raises:
        ModelError: the model decodes nothing to measure.
    """
    rows, length = segment.mask.shape

    def noise() -> Tensor | None:
        if generator is None:
            return None
        drawn = torch.rand(rows, model.noise_size, generator=generator).clamp(1e-6, 1 - 1e-6)
        return drawn.to(segment.actions.device)

    latent = model.observe(None, None, segment.observations[:, 0], noise())
    for step in range(model.context):
        latent = model.observe(latent, segment.actions[:, step], segment.observations[:, step + 1])
    features, spreads = [], []
    for step in range(model.context, length):
        latent = model.imagine(latent, segment.actions[:, step], noise())
        prediction = model.predict(latent)
        features.append(model.features(latent, prediction))
        spreads.append(prediction.spread)
    return torch.stack(features, 1), torch.stack(spreads, 1)


def after_context(model: WorldModel, segment: Segment) -> tuple[Tensor, Tensor]:
    """What was recorded of the steps that :func:`play_open_loop` imagines: embeddings (B, L-C, F), mask (B, L-C)."""
    return segment.observations[:, model.context + 1 :], segment.mask[:, model.context :]


def mean_of_recorded(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the rows (B, L) -> (L,) of what was recorded; padding counts for nothing."""
    return (values * mask).sum(0) / mask.sum(0).clamp(min=1)


def rollout_error(model: WorldModel, segment: Segment) -> Tensor:
    """Open-loop nRMSE by horizon (L-C,) of the mean rollout."""
    features, _ = play_open_loop(model, segment)
    truth, mask = after_context(model, segment)
    error = model.normalizer.error(features - truth)
    # A rollout that has left every bound counts as ten standard deviations, not as a hole in the mean.
    return mean_of_recorded(torch.nan_to_num(error, nan=10.0).clamp(max=10.0), mask)
