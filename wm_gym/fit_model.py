"""From episodes to a trained model: its fit, its temperature, where rollouts begin, and how far it can be trusted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from wm_gym.data.moments import cut_moments
from wm_gym.data.segments import Windows
from wm_gym.errors import DataError
from wm_gym.models.camera_world import CameraWorld
from wm_gym.models.fitting import FitConfig, FitProgress, fit
from wm_gym.models.frame_fitting import is_whole
from wm_gym.models.open_loop import rollout_error
from wm_gym.models.state_ensemble import StateEnsemble
from wm_gym.models.temperature import choose_temperature
from wm_gym.models.trained import StartStates, TrainedModel
from wm_gym.models.trust import Calibration, Support
from wm_gym.models.world_model import WorldModel
from wm_gym.types import Episode, Segment

PARTS = ("train", "validation", "calibration")
_KEPT_STARTS = 4096
_KEPT_CONTEXTS = 1024  # of a model with a context, which takes so many times the room
_STRIDE = 10  # steps between the moments from which validation and calibration roll out
_BEGINNINGS = 0.25  # share of a camera model's windows that begin where an episode does


@dataclass(frozen=True)
class FittedModel:
    """What a fit came to."""

    trained: TrainedModel
    """On the CPU, its manifest still empty."""
    progress: FitProgress
    error: Tensor
    """(H,) open-loop nRMSE of the validation episodes after 1..H imagined steps."""
    temperatures: dict[str, float]
    """Energy score of each temperature that was tried; empty for a model that draws nothing."""


def fit_model(
    model: StateEnsemble | CameraWorld,
    episodes: Mapping[str, Sequence[Episode]],
    config: FitConfig,
    seed: int,
    device: str = "cpu",
    checkpoint: Path | None = None,
) -> FittedModel:
    """Fit a model, new or fitted before, and measure what a user must know of it.

    Args:
        model: on the device. Its weights are where the fit begins; its scales are measured anew.
        episodes: of each of ``PARTS``; of a camera model, episodes of embeddings, without holes but in ``train``.
        config: of the fit.
        seed: of the draws.
        device: where it is fitted.
        checkpoint: see :func:`~wm_gym.models.fitting.fit`.

    Raises:
        DataError: no episode is long enough to begin from.
    """
    whole = [episode for episode in episodes["train"] if is_whole(episode)]
    model.fit_scales(whole)
    share = _BEGINNINGS if model.context else 0.0
    windows = Windows(episodes["train"], model.context + max(config.horizons), device, share)
    validation = _from_many_moments(model, episodes["validation"], config.selection_horizon, device)
    with fit_bar("fit", config.updates, "rollout error") as (advance, show):
        progress = fit(model, windows, validation, config, seed, checkpoint, advance, show)
    model.eval().requires_grad_(False)
    if isinstance(model, CameraWorld):
        _round_to_half(model)
    temperatures = choose_temperature(model, validation, seed) if isinstance(model, StateEnsemble) else {}
    error = rollout_error(model, validation)
    support = _support(whole)
    moments = cut_moments(episodes["calibration"], _STRIDE, model.context, device)
    drawn = torch.Generator().manual_seed(seed)
    trained = TrainedModel(
        model=model,
        starts=_starts(whole, model.context, seed),
        support=support,
        calibration=Calibration.measure(model, support.to(device), moments, drawn),
        manifest={},
    ).to("cpu")
    return FittedModel(trained, progress, error, temperatures)


@contextmanager
def fit_bar(
    name: str, updates: int, error: str
) -> Iterator[tuple[Callable[[int], None], Callable[[FitProgress], None]]]:
    """A progress bar of a fit: what tells it the updates, and what tells it an evaluation."""
    with tqdm(total=updates, desc=name, unit="update", file=sys.stderr, mininterval=0.5) as bar:

        def show(progress: FitProgress) -> None:
            bar.set_postfix_str(f"{error} {progress.error:.4f}, best {progress.best_error:.4f}")

        yield lambda update: bar.update(update - bar.n), show


def _round_to_half(model: CameraWorld) -> None:
    """Round the weights to what float16 holds, before anything is measured of them: the file takes half the room."""
    for parameter in model.parameters():
        parameter.copy_(parameter.half().float())


def _from_many_moments(model: WorldModel, episodes: Sequence[Episode], horizon: int, device: str) -> Segment:
    """Windows from every tenth moment of each episode, padded and masked where the episode ends, as one batch.

    They are as long as the model's context and the steps to imagine after it.
    """
    length = min(model.context + horizon, max(model.context + 1, *(len(episode) for episode in episodes)))
    parts = list(Windows(episodes, length, device).all(_STRIDE))
    return Segment(
        observations=torch.cat([part.observations for part in parts]),
        actions=torch.cat([part.actions for part in parts]),
        rewards=torch.cat([part.rewards for part in parts]),
        terminations=torch.cat([part.terminations for part in parts]),
        mask=torch.cat([part.mask for part in parts]),
    )


def _starts(episodes: Sequence[Episode], context: int, seed: int) -> StartStates:
    """The first observations of episodes, and moments with the ``context`` steps before them."""
    initial = np.stack([episode.observations[:1] for episode in episodes])
    places = [(e, t) for e, episode in enumerate(episodes) for t in range(len(episode) - context)]
    if not places:
        raise DataError(
            f"no episode is longer than the {context} steps that a camera model is shown; record longer ones"
        )
    kept = _KEPT_CONTEXTS if context else _KEPT_STARTS
    if len(places) > kept:
        chosen = np.random.default_rng(seed).choice(len(places), kept, replace=False)
        places = [places[place] for place in chosen]
    moments = np.stack([episodes[e].observations[t : t + context + 1] for e, t in places])
    actions = np.stack([episodes[e].actions[t : t + context] for e, t in places])
    none = torch.zeros(len(initial), 0, actions.shape[-1])
    kept_moments = torch.from_numpy(moments)
    if context:  # codes of frames need no more than float16 holds, and there are many
        kept_moments = kept_moments.half().float()
    return StartStates(torch.from_numpy(initial), none, kept_moments, torch.from_numpy(actions))


def _support(episodes: Sequence[Episode]) -> Support:
    states = torch.from_numpy(np.concatenate([episode.observations[1:] for episode in episodes]))
    actions = torch.from_numpy(np.concatenate([episode.actions for episode in episodes]))
    return Support.measure(states, actions)
