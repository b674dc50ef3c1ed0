"""Frames altered as a real camera alters them: light, a shake, noise. Each frame by itself, so that no action moves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Augmentation:
    """How much frames are altered; what is drawn is uniform within the bounds, for each frame anew."""

    share: float = 0.0
    """Of the frames that are altered at all."""
    brightness: float = 0.1
    """Largest difference, of the full range."""
    contrast: float = 0.1
    """Largest change of the factor 1, about the frame's own mean."""
    shift: float = 1.0
    """Largest movement in each direction, pixels; the border is repeated."""
    noise: float = 0.02
    """Standard deviation of each pixel, of the full range."""


def augment(frames: Tensor, config: Augmentation, generator: torch.Generator) -> Tensor:
    """Alter frames (B, 3, H, W) in [0, 1]; what they are, and their order, stays the same.

    Args:
        frames: on any device.
        config: see :class:`Augmentation`.
        generator: on the CPU; draws everything.
    """
    if config.share == 0:
        return frames
    rows, device = len(frames), frames.device

    def within(bound: float, *size: int) -> Tensor:
        return bound * (2 * torch.rand(rows, *size, generator=generator) - 1).to(device)

    altered = (torch.rand(rows, generator=generator) < config.share).to(device)
    light = 1 + within(config.contrast, 1, 1, 1)
    mean = frames.mean((1, 2, 3), keepdim=True)
    changed = (_shift(frames, within(config.shift, 2)) - mean) * light + mean + within(config.brightness, 1, 1, 1)
    changed = changed + config.noise * torch.randn(frames.shape, generator=generator).to(device)
    return torch.where(altered.view(-1, 1, 1, 1), changed.clamp(0, 1), frames)


def _shift(frames: Tensor, pixels: Tensor) -> Tensor:
    """Move each frame by (x, y) pixels (B, 2), between pixels by interpolation."""
    rows, _, height, width = frames.shape
    place = torch.eye(2, 3, device=frames.device).repeat(rows, 1, 1)
    place[:, :, 2] = -2 * pixels / torch.tensor([width, height], device=frames.device)
    grid = F.affine_grid(place, list(frames.shape), align_corners=False)
    return F.grid_sample(frames, grid, padding_mode="border", align_corners=False)
