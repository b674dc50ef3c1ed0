"""Recorded actions played in imagination from a recorded start: what prediction is judged and calibrated on."""

from __future__ import annotations

import torch
from torch import Tensor

from wm_gym.errors import ModelError
from wm_gym.models.world_model import WorldModel
from wm_gym.types import Observation, Segment


@torch.no_grad()
def play_open_loop(
    model: WorldModel, segment: Segment, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Imagine every step of B windows of L steps from their first observations alone.

    Args:
        model: decodes the state.
        segment: the starts and the actions; padded steps are played too, the caller masks them.
        generator: draws members and noise; None plays the mean.

    Returns:
        Imagined states (B, L, S) and spreads (B, L).

    Raises:
        ModelError: the model decodes no state.
    """
    rows, length = segment.mask.shape

    def noise() -> Tensor | None:
        if generator is None:
            return None
        drawn = torch.rand(rows, model.noise_size, generator=generator).clamp(1e-6, 1 - 1e-6)
        return drawn.to(segment.actions.device)

    latent = model.observe(None, None, model.encode(Observation(state=segment.observations[:, 0])), noise())
    states, spreads = [], []
    for step in range(length):
        latent = model.imagine(latent, segment.actions[:, step], noise())
        prediction = model.predict(latent)
        if prediction.state is None:
            raise ModelError(f"a model of family {model.family!r} decodes no state to compare with the recorded one")
        states.append(prediction.state)
        spreads.append(prediction.spread)
    return torch.stack(states, 1), torch.stack(spreads, 1)


def mean_of_recorded(values: Tensor, segment: Segment) -> Tensor:
    """Mean over the rows (B, L) -> (L,) of what was recorded; padding counts for nothing."""
    return (values * segment.mask).sum(0) / segment.mask.sum(0).clamp(min=1)


def rollout_error(model: WorldModel, segment: Segment) -> Tensor:
    """Open-loop nRMSE by horizon (L,) of the mean rollout."""
    states, _ = play_open_loop(model, segment)
    error = model.normalizer.error(states - segment.observations[:, 1:])
    # A rollout that has left every bound counts as ten standard deviations, not as a hole in the mean.
    return mean_of_recorded(torch.nan_to_num(error, nan=10.0).clamp(max=10.0), segment)
