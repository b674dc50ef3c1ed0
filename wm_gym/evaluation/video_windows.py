"""Windows of held-out video, and what a camera model imagines after their first frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wm_gym.errors import DataError
from wm_gym.evaluation.readout import Place
from wm_gym.models import WorldModel
from wm_gym.models.frame_coder import as_pictures
from wm_gym.types import Episode, FloatArray, FrameArray, LatentState, Observation

_AT_ONCE = 256  # latent states drawn in one go


@dataclass(frozen=True)
class VideoWindows:
    """N windows of C observed steps and H imagined ones."""

    context: int
    """C."""
    frames: FrameArray
    """(N, C+H+1, h, w, 3) uint8 of one camera."""
    actions: FloatArray
    """(N, C+H, A)."""
    places: FloatArray
    """(N, C+H+1, D) where the robot really is."""
    origins: np.ndarray
    """(N,) the episode of each."""
    qpos: FloatArray | None
    """(N, nq) of the last observed step, where a simulator was at hand."""
    qvel: FloatArray | None
    """(N, nv), likewise."""

    @property
    def horizon(self) -> int:
        """H."""
        return len(self.actions[0]) - self.context

    @property
    def truth(self) -> FrameArray:
        """(N, H, h, w, 3): the frames to imagine."""
        return self.frames[:, self.context + 1 :]

    def rows(self, chosen: np.ndarray) -> VideoWindows:
        """Some of the windows."""
        return VideoWindows(
            self.context,
            self.frames[chosen],
            self.actions[chosen],
            self.places[chosen],
            self.origins[chosen],
            None if self.qpos is None else self.qpos[chosen],
            None if self.qvel is None else self.qvel[chosen],
        )


def cut_windows(
    episodes: Sequence[Episode], camera: str, place: Place, context: int, horizon: int, stride: int
) -> VideoWindows:
    """Windows from every ``stride``-th moment of episodes that are recorded long enough, with their frames.

    Raises:
        DataError: none is long enough.
    """
    length = context + horizon
    found = [
        (number, start)
        for number, episode in enumerate(episodes)
        for start in range(0, len(episode) - length + 1, stride)
    ]
    if not found:
        raise DataError(
            f"no held-out episode has the {length} steps that are needed ({context} observed, {horizon} imagined): "
            "record longer ones (task.max_episode_steps=...) or ask for a shorter horizon"
        )
    placed = [place.of(episode) for episode in episodes]

    def stack(values: Callable[[Episode, int], np.ndarray]) -> np.ndarray:
        return np.stack([values(episodes[number], start) for number, start in found])

    physical = all(episode.qpos is not None for episode in episodes)
    return VideoWindows(
        context=context,
        frames=stack(lambda e, t: e.frames[camera][t : t + length + 1]),
        actions=stack(lambda e, t: e.actions[t : t + length]),
        places=np.stack([placed[number][start : start + length + 1] for number, start in found]),
        origins=np.array([number for number, _ in found]),
        qpos=stack(lambda e, t: np.asarray(e.qpos)[t + context]) if physical else None,
        qvel=stack(lambda e, t: np.asarray(e.qvel)[t + context]) if physical else None,
    )


@torch.no_grad()
def observe_context(model: WorldModel, camera: str, windows: VideoWindows) -> LatentState:
    """The filtered latent states (N rows, the mean of all members) after the context."""
    latent = model.observe(None, None, _embed(model, camera, windows.frames[:, 0]))
    for step in range(windows.context):
        latent = watch(model, camera, latent, windows.actions[:, step], windows.frames[:, step + 1])
    return latent


@torch.no_grad()
def watch(model: WorldModel, camera: str, latent: LatentState, action: FloatArray, frames: FrameArray) -> LatentState:
    """A step with an observation: actions (N, A) that led to frames (N, h, w, 3)."""
    return model.observe(latent, torch.from_numpy(action), _embed(model, camera, frames))


@torch.no_grad()
def imagine_steps(model: WorldModel, latent: LatentState, actions: FloatArray) -> list[LatentState]:
    """The latent states after each of the actions (N, H, A)."""
    imagined = []
    for step in range(actions.shape[1]):
        latent = model.imagine(latent, torch.from_numpy(actions[:, step]))
        imagined.append(latent)
    return imagined


@torch.no_grad()
def draw_frames(model: WorldModel, camera: str, latents: Sequence[LatentState]) -> FrameArray:
    """What the camera would show: (N, len(latents), h, w, 3) uint8."""
    films = []
    for latent in latents:
        parts = [latent.rows(rows) for rows in torch.split(torch.arange(len(latent)), _AT_ONCE)]
        pictures = torch.cat([model.draw(part)[camera] for part in parts])
        films.append((255 * pictures).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return np.stack(films, axis=1)


def _embed(model: WorldModel, camera: str, frames: FrameArray) -> Tensor:
    parts = torch.split(torch.from_numpy(np.ascontiguousarray(frames)), _AT_ONCE)
    return torch.cat([model.encode(Observation(frames={camera: as_pictures(part)[0]})) for part in parts])
