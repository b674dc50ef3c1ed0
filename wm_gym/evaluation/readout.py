"""A read-out: a small network, trained on true frames alone, that tells where the robot is in any picture of it.

It knows nothing of the world model. Applied to imagined frames it measures what a pixel error cannot: by how many
millimetres or degrees the robot that they show is in the wrong place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wm_gym.errors import DataError
from wm_gym.models.fitting import FitConfig, fit
from wm_gym.models.frame_coder import as_pictures
from wm_gym.models.world_model import Loss, Trainable
from wm_gym.types import Episode, FloatArray, FrameArray, Segment, TaskSpec

_CHANNELS = (24, 48, 64)
_AT_ONCE = 512


@dataclass(frozen=True)
class Place:
    """What of a robot is looked for."""

    name: str
    unit: str
    of: Callable[[Episode], FloatArray]
    """Episode -> (T+1, D) in this unit."""


PLACES = {
    "reacher": Place("fingertip", "mm", lambda e: 1000 * (e.observations[:, 8:10] + e.observations[:, 4:6])),
    "inverted_pendulum": Place("pole angle", "degrees", lambda e: np.degrees(e.observations[:, 1:2])),
}


def place_of(task: TaskSpec) -> Place:
    """What to look for on this robot.

    Raises:
        DataError: it is not known for it.
    """
    if task.name not in PLACES:
        raise DataError(f"no read-out is known for {task.name} (for {', '.join(PLACES)}): add its place to PLACES")
    return PLACES[task.name]


class ReadOut(Trainable):
    """Frames (B, H, W, 3) uint8 -> places (B, D)."""

    mean: Tensor
    std: Tensor

    def __init__(self, height: int, width: int, places: FloatArray) -> None:
        """Set up for one camera.

        Args:
            height: of the frames, pixels.
            width: likewise.
            places: (n, D) of the training frames, from which they are scaled.
        """
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((3, *_CHANNELS), _CHANNELS, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.SiLU()]
        self.look = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            size = self.look(torch.zeros(1, 3, height, width)).shape[1]
        self.tell = nn.Sequential(nn.Linear(size, 128), nn.SiLU(), nn.Linear(128, places.shape[1]))
        self.register_buffer("mean", torch.from_numpy(places.mean(0)).float())
        self.register_buffer("std", torch.from_numpy(np.maximum(places.std(0), 1e-6)).float())
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(self, segment: Segment, horizon: int) -> Loss:
        """Squared error of the scaled places: ``observations`` (B, 1, D) beside ``frames`` (B, 1, H, W, 3)."""
        told = self._tell(segment.frames["frame"][:, 0])
        missed = F.mse_loss(told, (segment.observations[:, 0] - self.mean) / self.std)
        return Loss(missed, {"place": missed.detach()})

    @torch.no_grad()
    def places(self, frames: FrameArray) -> FloatArray:
        """Where the robot is in frames (..., H, W, 3): (..., D)."""
        flat = torch.from_numpy(np.ascontiguousarray(frames.reshape(-1, *frames.shape[-3:])))
        told = torch.cat([self._tell(part) for part in torch.split(flat, _AT_ONCE)]) * self.std + self.mean
        return np.asarray(told.numpy().reshape(*frames.shape[:-3], -1))

    def _tell(self, frames: Tensor) -> Tensor:
        pictures = as_pictures(frames)[0].contiguous(memory_format=torch.channels_last)
        told: Tensor = self.tell(self.look(pictures - 0.5))
        return told


@dataclass(frozen=True)
class LabelledFrames:
    """True frames with what is to be read from them."""

    frames: FrameArray
    """(n, H, W, 3), in memory or on disk."""
    rows: np.ndarray
    """(m,) which of them are drawn from."""
    places: FloatArray
    """(m, D)."""

    def sample(self, batch_size: int, generator: torch.Generator) -> Segment:
        """Frames drawn uniformly."""
        return self.take(torch.randint(len(self.rows), (batch_size,), generator=generator).numpy())

    def take(self, chosen: np.ndarray) -> Segment:
        """The frames at these places among the rows."""
        none = torch.zeros(len(chosen), 0)
        shown = torch.from_numpy(np.array(self.frames[self.rows[chosen]])[:, None])
        wanted = torch.from_numpy(self.places[chosen].astype(np.float32))[:, None]
        return Segment(wanted, none[..., None], none, none, none, {"frame": shown})


def train_readout(
    training: LabelledFrames,
    validation: LabelledFrames,
    updates: int,
    seed: int,
    on_update: Callable[[int], None] = lambda update: None,
) -> ReadOut:
    """Train a read-out on true frames; it is chosen on those of other episodes."""
    torch.manual_seed(seed)
    readout = ReadOut(training.frames.shape[1], training.frames.shape[2], training.places)
    count = min(1024, len(validation.rows))
    held_out = validation.take(np.linspace(0, len(validation.rows) - 1, count).round().astype(int))
    plan = FitConfig(updates, 96, (0,), learning_rate=2e-3, evaluate_every=max(1, updates // 10))

    def error(reader: ReadOut, segment: Segment) -> Tensor:
        missed = reader.places(segment.frames["frame"][:, 0].numpy()) - segment.observations[:, 0].numpy()
        return torch.from_numpy(np.linalg.norm(missed, axis=-1))

    fit(readout, training, held_out, plan, seed, on_update=on_update, measure_error=error)
    return readout.eval().requires_grad_(False)
