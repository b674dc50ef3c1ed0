"""A trained model taken to a changed robot: fitted on with a little of the new robot's data."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

from wm_gym.data.segments import Windows
from wm_gym.models import TrainedModel
from wm_gym.models.fitting import FitConfig, fit
from wm_gym.types import Episode

LONGEST = 8
"""Steps of a training window."""
SELECTED_ON = 20
"""Steps of the rollouts that choose the weights."""
KEPT_BACK = 5
"""Every so manieth episode chooses the weights and is not trained on."""


def refit(trained: TrainedModel, episodes: Sequence[Episode], updates: int, seed: int) -> TrainedModel:
    """The model after some more updates, all its scales as they were; the given one stays as it is.

    Args:
        trained: of a family that learns from states.
        episodes: of the changed robot, at least ``KEPT_BACK``.
        updates: of the fit, at a quarter of the first fit's learning rate.
        seed: of the draws of windows.
    """
    model = copy.deepcopy(trained.model).train().requires_grad_(True)
    windows = Windows([e for n, e in enumerate(episodes) if n % KEPT_BACK], LONGEST)
    judged = next(iter(Windows(list(episodes)[::KEPT_BACK], SELECTED_ON).all(stride=SELECTED_ON)))
    settings = FitConfig(
        updates=updates,
        horizons=(1, 2, 4, LONGEST),
        learning_rate=5e-4,
        ema=0.98,
        evaluate_every=max(1, updates // 8),
        selection_horizon=SELECTED_ON,
    )
    fit(model, windows, judged, settings, seed)
    return replace(trained, model=model.eval().requires_grad_(False))
