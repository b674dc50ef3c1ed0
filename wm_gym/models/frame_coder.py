"""What a camera shows in a few numbers, and the way back: an autoencoder of single frames, trained before any dynamics.

The numbers of a frame are then its *embedding*, fixed, and the dynamics are learnt over embeddings: a window of fifty
steps costs no more there than one of a state model. What is drawn is an average background plus a learnt difference, so
that a wall costs nothing to learn. The reward is learnt beside the pictures: a target of three pixels, which hardly
counts in a picture, counts for everything there.

Sources: vision first, dynamics over its codes afterwards from Ha and Schmidhuber 2018 ("World models", section 2);
noise on the code instead of a learnt variance, with its size held down, from Ghosh et al. 2020 ("From variational to
deterministic autoencoders", section 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wm_gym.models.augmentation import Augmentation, augment
from wm_gym.models.world_model import Loss, Trainable
from wm_gym.types import CameraSpec, FloatArray, Segment

_SMALLEST_SIDE = 4  # pixels of the map between the convolutions and the embedding
_NOISE = 0.1  # standard deviation, on codes that spread over a few units: near codes must mean near pictures
_HOLD = 1e-3  # weight of the codes' mean square, which would outgrow the noise otherwise
_GUIDE_WIDTH = 96
_GUIDE_WEIGHT = 3.0  # of reward and termination beside the pictures (docs/log.md)
_KERNEL = 4, 2, 1  # size, stride and padding: halves a side, or doubles it


@dataclass(frozen=True)
class FrameCoderConfig:
    """The size of one camera's networks: 0.3 million weights for 64 x 64 pixels."""

    size: int = 24
    """Numbers that stand for a frame."""
    channels: tuple[int, ...] = (16, 32, 64, 64)
    """Of each halving of the frame; the last is repeated where a frame is larger."""


class FrameCoder(nn.Module):
    """One camera: frames (B, 3, H, W) in [0, 1] to embeddings (B, E) and back."""

    background: Tensor
    """(3, H, W) the mean frame of the training data."""
    variance: Tensor
    """Scalar: mean square of what differs from the background; errors are measured in it."""

    def __init__(self, camera: CameraSpec, config: FrameCoderConfig) -> None:
        super().__init__()
        self.height, self.width = camera.height, camera.width
        halvings = max(1, (min(self.height, self.width) // _SMALLEST_SIDE).bit_length() - 1)
        channels = [config.channels[min(level, len(config.channels) - 1)] for level in range(halvings)]
        whole = 2**halvings
        self._map = (channels[-1], -(-self.height // whole), -(-self.width // whole))
        self._padding = (0, self._map[2] * whole - self.width, 0, self._map[1] * whole - self.height)
        inner = self._map[0] * self._map[1] * self._map[2]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, *_KERNEL) for a, b in pairwise([3, *channels]))
        self.into = nn.Linear(inner, config.size)
        self.out_of = nn.Linear(config.size, inner)
        steps = pairwise([*channels[::-1], 3])
        self.deconvolutions = nn.ModuleList(nn.ConvTranspose2d(a, b, *_KERNEL) for a, b in steps)
        self.register_buffer("background", torch.zeros(3, self.height, self.width))
        self.register_buffer("variance", torch.ones(()))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def measure(self, background: Tensor, variance: Tensor) -> None:
        """Take over the mean frame (3, H, W) of the training data and the mean square of what differs from it."""
        self.background.copy_(background)
        self.variance.copy_(variance.clamp(min=1e-6))

    def encode(self, frames: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, E)."""
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=frames.is_cuda):
            x = F.pad((frames - self.background) / self.variance.sqrt(), self._padding)
            x = x.contiguous(memory_format=torch.channels_last)
            for layer in self.convolutions:
                x = F.silu(layer(x))
            embedding: Tensor = self.into(x.flatten(1))
        return embedding.float()

    def decode(self, embedding: Tensor) -> Tensor:
        """(B, E) -> (B, 3, H, W), as good as in [0, 1]; clamp it to show it."""
        with torch.autocast(embedding.device.type, torch.bfloat16, enabled=embedding.is_cuda):
            x = F.silu(self.out_of(embedding)).reshape(-1, *self._map).contiguous(memory_format=torch.channels_last)
            for layer in self.deconvolutions[:-1]:
                x = F.silu(layer(x))
            x = self.deconvolutions[-1](x)[..., : self.height, : self.width]
        drawn: Tensor = self.background + x.float() * self.variance.sqrt()
        return drawn


class FrameCoders(Trainable):
    """The coders of all cameras, trained on single frames; each camera's code is a stretch of the embedding."""

    batches: Tensor
    """Scalar: how many batches it has been trained on; the noise of the n-th is drawn from the seed n, so that a
    training that was interrupted draws the same."""

    reward_mean: Tensor
    reward_std: Tensor

    def __init__(self, cameras: Sequence[CameraSpec], actions: int, config: FrameCoderConfig) -> None:
        super().__init__()
        self.names = [camera.name for camera in cameras]
        self.size = config.size
        self.coders = nn.ModuleList(FrameCoder(camera, config) for camera in cameras)
        widths = [len(cameras) * config.size + actions, _GUIDE_WIDTH, _GUIDE_WIDTH]
        hidden = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.SiLU())]
        self.guide = nn.Sequential(*hidden, nn.Linear(_GUIDE_WIDTH, 2))
        self.augmentation = Augmentation()
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.register_buffer("reward_mean", torch.zeros(()))
        self.register_buffer("reward_std", torch.ones(()))

    def each(self) -> Iterator[tuple[str, FrameCoder]]:
        """Name and coder of every camera."""
        for name, coder in zip(self.names, self.coders, strict=True):
            assert isinstance(coder, FrameCoder)
            yield name, coder

    def encode(self, name: str, frames: Tensor | None, rows: int, device: torch.device) -> Tensor:
        """The code (B, E) of a camera's frames (B, 3, H, W); NaN where there are none."""
        if frames is None:
            return torch.full((rows, self.size), torch.nan, device=device)
        return dict(self.each())[name].encode(frames)

    def decode(self, embedding: Tensor) -> dict[str, Tensor]:
        """Pictures of every camera, name -> (B, 3, H, W) in [0, 1], from an embedding (B, F) that begins with codes."""
        return {
            name: coder.decode(embedding[:, place * self.size : (place + 1) * self.size]).clamp(0, 1)
            for place, (name, coder) in enumerate(self.each())
        }

    def measure(self, means: Mapping[str, Tensor], variances: Mapping[str, Tensor], rewards: FloatArray) -> None:
        """Take over each camera's mean frame (3, H, W), the mean square of what differs from it, and all rewards."""
        self.reward_mean.fill_(float(rewards.mean(dtype=np.float64)))
        self.reward_std.fill_(max(float(rewards.std(dtype=np.float64)), 1e-6))
        for name, coder in self.each():
            coder.measure(means[name], variances[name])

    def loss(self, segment: Segment, horizon: int) -> Loss:
        """Squared error of the drawn frames, from codes with noise, and of the reward and the end that codes tell of.

        Args:
            segment: ``frames`` (B, 1, H, W, 3) of each camera, and the one step that led there (B, 1); a frame that is
                black throughout was not recorded.
            horizon: not used, no step is imagined.
        """
        generator = torch.Generator().manual_seed(int(self.batches))
        self.batches += 1
        codes, parts = [], {}
        for name, coder in self.each():
            wanted, there = as_pictures(segment.frames[name][:, 0])
            code = coder.encode(augment(wanted, self.augmentation, generator))
            noisy = code + _NOISE * torch.randn(code.shape, generator=generator).to(code.device)
            wrong = _unlikeness((coder.decode(noisy) - wanted) / coder.variance.sqrt())
            held = wrong + _HOLD * code.square().mean(-1)
            parts[name] = (held * there).sum() / there.sum().clamp(min=1)
            codes.append(noisy * there.unsqueeze(-1))
        reward, termination = self._guide_loss(torch.cat(codes, -1), segment)
        total = torch.stack(list(parts.values())).sum() + _GUIDE_WEIGHT * (reward + termination)
        parts |= {"reward": reward, "termination": termination}
        return Loss(total, {name: value.detach() for name, value in parts.items()})

    def _guide_loss(self, codes: Tensor, segment: Segment) -> tuple[Tensor, Tensor]:
        """Squared error of the scaled reward, and cross-entropy of the termination, of the step that led here."""
        mask = segment.mask[:, 0]
        count = mask.sum().clamp(min=1)
        reward, logit = self.guide(torch.cat([codes, segment.actions[:, 0]], -1)).unbind(-1)
        missed = reward - (segment.rewards[:, 0] - self.reward_mean) / self.reward_std
        crossed = F.binary_cross_entropy_with_logits(logit, segment.terminations[:, 0], reduction="none")
        return (missed.square() * mask).sum() / count, (crossed * mask).sum() / count


def _unlikeness(error: Tensor) -> Tensor:
    """Mean square (B,) of the error of pictures (B, 3, H, W), at full size and seen from afar.

    A small thing drawn beside its place is as wrong in pixels as one that is not drawn at all; seen from afar it is
    nearly right, which leads it home.
    """
    scales = [error, F.avg_pool2d(error, 2), F.avg_pool2d(error, 4)]
    return torch.stack([scale.square().mean((1, 2, 3)) for scale in scales]).sum(0)


@torch.no_grad()
def drawing_error(coders: FrameCoders, segment: Segment) -> Tensor:
    """Share of the variance of each camera's pixels that is drawn wrongly (cameras,), over frames (B, 1, H, W, 3)."""
    errors = []
    for name, coder in coders.each():
        wanted, there = as_pictures(segment.frames[name][:, 0])
        wrong = torch.cat(
            [(coder.decode(coder.encode(p)) - p).square().mean((1, 2, 3)) for p in torch.split(wanted, 256)]
        )
        errors.append((wrong * there).sum() / there.sum().clamp(min=1) / coder.variance)
    return torch.stack(errors)


def as_pictures(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Frames (B, H, W, 3) uint8 as (B, 3, H, W) in [0, 1], and whether each was recorded (B,): a black one was not."""
    there = frames.flatten(1).amax(1) > 0
    return frames.permute(0, 3, 1, 2).float() / 255, there.float()
