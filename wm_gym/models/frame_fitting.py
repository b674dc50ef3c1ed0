"""From decoded frames to a trained coder, and from a trained coder to episodes of embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wm_gym.models.camera_world import CameraWorld
from wm_gym.models.fitting import FitConfig, FitProgress, fit
from wm_gym.models.frame_coder import as_pictures, drawing_error
from wm_gym.types import Episode, FrameArray, Observation, Segment

_MEASURED = 2048  # frames from which the background is taken, and as many at most are drawn to judge the coder
_AT_ONCE = 256  # frames embedded in one go


@dataclass(frozen=True)
class FrameBatches:
    """Single frames drawn at random from the rows of some episodes, each with the step that led to it."""

    frames: Mapping[str, FrameArray]
    """Camera name -> (R, H, W, 3) uint8 of all recorded rows."""
    rows: np.ndarray
    """(n,) the rows to draw from."""
    actions: np.ndarray
    """(n, A) float32 that led to each of them; zero where an episode begins."""
    rewards: np.ndarray
    """(n,) float32, likewise."""
    terminations: np.ndarray
    """(n,) float32, likewise."""
    led: np.ndarray
    """(n,) float32: 0 where an episode begins, as no step led there."""
    device: str = "cpu"

    @classmethod
    def of(
        cls, episodes: Sequence[Episode], frames: Mapping[str, FrameArray], rows: np.ndarray, device: str = "cpu"
    ) -> FrameBatches:
        """Frames of episodes, T+1 ``rows`` of each, one episode after the other."""

        def led_to(steps: Callable[[Episode], np.ndarray]) -> np.ndarray:
            values = [steps(episode) for episode in episodes]
            first = np.zeros_like(values[0][:1])
            return np.concatenate([np.concatenate([first, value]) for value in values]).astype(np.float32)

        return cls(
            frames,
            rows,
            actions=led_to(lambda episode: episode.actions),
            rewards=led_to(lambda episode: episode.rewards),
            terminations=led_to(lambda episode: episode.terminations),
            led=led_to(lambda episode: np.ones(len(episode))),
            device=device,
        )

    def sample(self, batch_size: int, generator: torch.Generator) -> Segment:
        """Frames drawn uniformly: windows of one step, of which only the last observation is there."""
        return self.take(torch.randint(len(self.rows), (batch_size,), generator=generator).numpy())

    def spread_out(self, count: int) -> Segment:
        """At most so many frames, evenly spaced over all rows."""
        return self.take(np.unique(np.linspace(0, len(self.rows) - 1, count).round().astype(int)))

    def take(self, chosen: np.ndarray) -> Segment:
        """The frames at these places (B,) among the rows."""
        chosen = np.sort(chosen)  # read from disk in its order

        def tensor(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values[chosen][:, None]).to(self.device)

        frames = {
            name: torch.from_numpy(np.array(film[self.rows[chosen]])[:, None]).to(self.device)
            for name, film in self.frames.items()
        }
        actions, mask = tensor(self.actions), tensor(self.led)
        return Segment(actions[..., :0], actions, tensor(self.rewards), tensor(self.terminations), mask, frames)


def fit_coders(
    world: CameraWorld,
    training: FrameBatches,
    validation: FrameBatches,
    config: FitConfig,
    seed: int,
    checkpoint: Path | None = None,
    on_update: Callable[[int], None] = lambda update: None,
    on_evaluation: Callable[[FitProgress], None] = lambda progress: None,
) -> FitProgress:
    """Train the coders of a camera model on single frames; from then on they stay as they are."""
    measured, pictures = training.spread_out(_MEASURED), {}
    for name, frames in measured.frames.items():
        shown, there = as_pictures(frames[:, 0])
        if not bool(there.any()):
            shown, there = shown[:1], there[:1] + 1
        pictures[name] = shown[there > 0]
    world.coders.measure(pictures, training.rewards[training.led > 0])
    held_out = validation.spread_out(_MEASURED // 4)
    progress = fit(world.coders, training, held_out, config, seed, checkpoint, on_update, on_evaluation, drawing_error)
    world.coders.requires_grad_(False)
    return progress


@torch.no_grad()
def embed_episodes(
    world: CameraWorld, episodes: Sequence[Episode], films: Iterator[Mapping[str, FrameArray]], device: str = "cpu"
) -> list[Episode]:
    """The same episodes with embeddings (T+1, F) in the place of observations; NaN where a camera was missing.

    Args:
        world: with trained coders.
        episodes: without their frames.
        films: the frames of each, camera name -> (T+1, H, W, 3); black throughout where they were not recorded.
        device: where the model is.
    """
    return [
        replace(episode, observations=_embed(world, episode, film, device))
        for episode, film in zip(episodes, films, strict=True)
    ]


def is_whole(episode: Episode) -> bool:
    """Whether no sensor was missing in an episode of embeddings."""
    return bool(np.isfinite(episode.observations).all())


def _embed(world: CameraWorld, episode: Episode, film: Mapping[str, FrameArray], device: str) -> np.ndarray:
    there = {name: frames for name, frames in film.items() if np.asarray(frames).any()}
    state = torch.from_numpy(episode.observations).to(device) if world.shape.proprioception else None
    parts = []
    for first in range(0, len(episode) + 1, _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        frames = {name: as_pictures(torch.from_numpy(np.array(f[part])).to(device))[0] for name, f in there.items()}
        if frames or state is not None:
            parts.append(world.encode(Observation(None if state is None else state[part], frames)).cpu().numpy())
        else:
            parts.append(np.full((len(episode.observations[part]), world.embedding_size), np.nan, np.float32))
    return np.concatenate(parts)
