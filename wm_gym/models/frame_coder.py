"""What a camera shows in a few numbers, and the way back: an autoencoder of single frames, trained before any dynamics.

The numbers of a frame are then its *embedding*, fixed, and the dynamics are learnt over embeddings: a window of fifty
steps costs no more there than one of a state model. What is drawn is an average background plus a learnt difference, so
that a wall costs nothing to learn. The reward is learnt beside the pictures: a target of three pixels, which hardly
counts in a picture, counts for everything there.

Two things make such a target appear in the pictures too. Errors are measured along the axes of the colours' own
covariance, each in its own deviations: a red that is seldom seen weighs as much as the robot's shadow. And a part of
the code are *points*: where in the frame each of some learnt maps is strongest. They are drawn again as blobs, so that
a thing's place need not be learnt pixel by pixel.

Sources: vision first, dynamics over its codes afterwards from Ha and Schmidhuber 2018 ("World models", section 2);
noise on the code instead of a learnt variance, with its size held down, from Ghosh et al. 2020 ("From variational to
deterministic autoencoders", section 3); expected places of a softmax over the frame from Levine et al. 2016
("End-to-end training of deep visuomotor policies", section 5.1); drawing them as Gaussian maps from Jakab et al. 2018
("Unsupervised learning of object landmarks through conditional image generation", section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wm_gym.errors import ConfigError
from wm_gym.models.augmentation import Augmentation, augment
from wm_gym.models.world_model import Loss, Trainable
from wm_gym.types import CameraSpec, FloatArray, Segment

_SMALLEST_SIDE = 4  # pixels of the map between the convolutions and the embedding
_NOISE = 0.1, 0.5  # standard deviations, on points and on the rest: near codes must mean near pictures (docs/log.md)
_GRAIN = 0.01  # standard deviation of what a codec leaves behind in a pixel, of the full range: it must move no code
_HOLD = 1e-3  # weight of the codes' mean square, which would outgrow the noise otherwise
_GUIDE_WIDTH = 96
_GUIDE_WEIGHT = 3.0  # of reward and termination beside the pictures (docs/log.md)
_POOLS = 1, 2, 4, 8  # pixels to a side that are averaged before errors are measured
_RARE = 0.01  # share of the strongest colour axis's variance that is added to each
_SPAN = 10.0  # a point's number at the frame's edge: the noise on it is then a hundredth of half a frame
_SHARPNESS = 3.0  # of the maps' softmax, over colours in deviations
_LITTLE = 1e-6  # weight that a point's first place keeps: where nothing is strong it stays there
_AT_ONCE = 256  # frames drawn in one go: more would only take memory
_KERNEL = 4, 2, 1  # size, stride and padding: halves a side, or doubles it


@dataclass(frozen=True)
class FrameCoderConfig:
    """The size of one camera's networks: 0.3 million weights for 64 x 64 pixels."""

    size: int = 24
    """Numbers that stand for a frame; two of them are each point's place."""
    points: int = 8
    channels: tuple[int, ...] = (16, 32, 64, 64)
    """Of each halving of the frame; the last is repeated where a frame is larger."""
    window: float = 1.5
    """Deviation of the weights around where a map is strongest, in cells of two pixels along the frame's shorter side;
    0: a point lies where its softmax does, as in models of before."""


class FrameCoder(nn.Module):
    """One camera: frames (B, 3, H, W) in [0, 1] to embeddings (B, E) and back."""

    background: Tensor
    """(3, H, W) the mean frame of the training data."""
    whitening: Tensor
    """(3, 3) from colours to deviations along the axes of their covariance."""
    unwhitening: Tensor
    """(3, 3) its inverse."""
    variances: Tensor
    """(4,) mean squares of whitened frames seen at every one of ``_POOLS``: errors are measured in them."""

    def __init__(self, camera: CameraSpec, config: FrameCoderConfig) -> None:
        super().__init__()
        if not 0 < 2 * config.points < config.size:
            raise ConfigError(
                f"points={config.points}: at least one, of two numbers each, and fewer than size={config.size} in all"
            )
        if not 0 <= config.window < 100:
            raise ConfigError(f"window={config.window}: a number of cells from 0 to 100")
        self.height, self.width = camera.height, camera.width
        self.size, self.points, self.window = config.size, config.points, config.window
        halvings = max(1, (min(self.height, self.width) // _SMALLEST_SIDE).bit_length() - 1)
        channels = [config.channels[min(level, len(config.channels) - 1)] for level in range(halvings)]
        whole = 2**halvings
        self._map = (channels[-1], -(-self.height // whole), -(-self.width // whole))
        self._padding = (0, self._map[2] * whole - self.width, 0, self._map[1] * whole - self.height)
        inner = self._map[0] * self._map[1] * self._map[2]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, *_KERNEL) for a, b in pairwise([3, *channels]))
        self.into = nn.Linear(inner, config.size - 2 * self.points)
        self.out_of = nn.Linear(config.size, inner)
        steps = pairwise([*channels[::-1], 3])
        self.deconvolutions = nn.ModuleList(nn.ConvTranspose2d(a, b, *_KERNEL) for a, b in steps)
        self.attention = nn.Conv2d(3 + channels[0], self.points, 3, 1, 1)
        self.blend = nn.Conv2d(channels[0] + self.points, channels[0], 1)
        self.log_radius = nn.Parameter(torch.zeros(self.points))
        self._begin_at_extremes()
        self.register_buffer("background", torch.zeros(3, self.height, self.width))
        self.register_buffer("whitening", torch.eye(3))
        self.register_buffer("unwhitening", torch.eye(3))
        self.register_buffer("variances", torch.ones(len(_POOLS)))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def _begin_at_extremes(self) -> None:
        """Let the first six points begin at the brightest and darkest, reddest and greenest, ... of the picture.

        Begun at random they all stay with what is large.
        """
        self.attention.weight.mul_(0.3)
        self.attention.weight[:6] = 0
        for point in range(min(6, self.points)):
            self.attention.weight[point, point % 3, 1, 1] = 1.0 if point < 3 else -1.0

    def measure(self, pictures: Tensor) -> None:
        """Learn the mean frame, the colours' covariance and the size of what moves from pictures (N, 3, H, W)."""
        self.background.copy_(pictures.mean(0))
        colours = (pictures - self.background).transpose(0, 1).flatten(1).double()
        values, axes = torch.linalg.eigh(colours @ colours.T / colours.shape[1])
        deviations = (values + _RARE * values.max() + _GRAIN**2).sqrt()
        self.whitening.copy_((axes / deviations).T)
        self.unwhitening.copy_(axes * deviations)
        self.variances.copy_(_mean_squares(self.whiten(pictures - self.background)).mean(1).clamp(min=1e-6))

    def whiten(self, difference: Tensor) -> Tensor:
        """Colours (B, 3, H, W), less the background's, in deviations along their axes."""
        return torch.einsum("cd,bdhw->bchw", self.whitening, difference)

    def encode(self, frames: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, E)."""
        whitened = F.pad(self.whiten(frames - self.background), self._padding)
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=frames.is_cuda):
            first, *others = self.convolutions
            fine = F.silu(first(whitened.contiguous(memory_format=torch.channels_last)))
            points = self._look(torch.cat([F.avg_pool2d(whitened, 2), fine], 1))
            x = fine
            for layer in others:
                x = F.silu(layer(x))
            whole = self.into(x.flatten(1))
        return torch.cat([points, whole.float()], -1)

    def _look(self, features: Tensor) -> Tensor:
        """Where each map is strongest: the columns and then the rows (B, 2 P) of all points, 0 amid the frame.

        A softmax over the map that finds something small all but picks one cell, and jumps to the next, two pixels
        away, while the thing moves evenly: the place is the centre of mass around there.
        """
        strength = _SHARPNESS * self.attention(features).float()
        columns, rows = (_axis(size, strength.device) for size in (strength.shape[3], strength.shape[2]))

        def moments_of(share: Tensor) -> tuple[Tensor, Tensor]:
            # No matrix product: on a GPU it would be rounded to eight bits, and with it the place.
            return (share.sum(2) * columns).sum(-1), (share.sum(3) * rows).sum(-1)

        column, row = moments_of(strength.flatten(2).softmax(-1).unflatten(2, strength.shape[2:]))
        if self.window > 0:
            radius = self.window * 2 * _SPAN / min(strength.shape[2:])
            near_columns = torch.exp(-((columns - column.unsqueeze(-1)) / radius).square() / 2)
            near_rows = torch.exp(-((rows - row.unsqueeze(-1)) / radius).square() / 2)
            weight = F.softplus(strength) * near_rows.unsqueeze(-1) * near_columns.unsqueeze(-2)
            mass = weight.sum((2, 3)) + _LITTLE
            moments = zip(moments_of(weight), (column, row), strict=True)
            column, row = ((moment + _LITTLE * first) / mass for moment, first in moments)
        return torch.cat([column, row], -1)

    def _blobs(self, points: Tensor, height: int, width: int) -> Tensor:
        """Points (B, 2 P) drawn as blobs: (B, P, height, width)."""
        radius = _SPAN * 2 / min(height, width) * self.log_radius.exp().unsqueeze(-1)

        def profile(centres: Tensor, size: int) -> Tensor:
            distance = (_axis(size, centres.device) - centres.unsqueeze(-1)) / radius
            return torch.exp(-distance.square() / 2)

        columns, rows = points.chunk(2, -1)
        return profile(rows, height).unsqueeze(-1) * profile(columns, width).unsqueeze(-2)

    def decode(self, embedding: Tensor) -> Tensor:
        """(B, E) -> (B, 3, H, W), as good as in [0, 1]; clamp it to show it."""
        with torch.autocast(embedding.device.type, torch.bfloat16, enabled=embedding.is_cuda):
            x = F.silu(self.out_of(embedding)).reshape(-1, *self._map).contiguous(memory_format=torch.channels_last)
            *others, last = self.deconvolutions
            for layer in others:
                x = F.silu(layer(x))
            blobs = self._blobs(embedding[:, : 2 * self.points], *x.shape[2:])
            x = F.silu(self.blend(torch.cat([x, blobs.to(x.dtype)], 1)))
            x = last(x)[..., : self.height, : self.width]
        drawn: Tensor = self.background + torch.einsum("cd,bdhw->bchw", self.unwhitening, x.float())
        return drawn

    @property
    def resolution(self) -> Tensor:
        """(E,) standard deviation of the noise on embeddings while they are learnt: less is not told apart."""
        points = 2 * self.points
        return torch.tensor([_NOISE[0]] * points + [_NOISE[1]] * (self.size - points))

    def noise(self, embedding: Tensor, generator: torch.Generator) -> Tensor:
        """What is added to embeddings (B, E) while they are learnt."""
        return (self.resolution * torch.randn(embedding.shape, generator=generator)).to(embedding.device)

    def error(self, drawn: Tensor, wanted: Tensor) -> Tensor:
        """How unlike drawn and wanted pictures (B, 3, H, W) are (B,): 1 is a picture of the background alone.

        At full size and seen from afar: a small thing drawn beside its place is as wrong in pixels as one that is not
        drawn at all; seen from afar it is nearly right, which leads it home.
        """
        return (_mean_squares(self.whiten(drawn - wanted)) / self.variances.unsqueeze(-1)).mean(0)


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
        codes = embedding[:, : len(self.names) * self.size].split(self.size, 1)  # type: ignore[no-untyped-call]
        return {
            name: torch.cat([coder.decode(part).clamp(0, 1) for part in torch.split(code, _AT_ONCE)])
            for code, (name, coder) in zip(codes, self.each(), strict=True)
        }

    def measure(self, pictures: Mapping[str, Tensor], rewards: FloatArray) -> None:
        """Learn the scales of every camera's pictures (N, 3, H, W), and of all rewards."""
        self.reward_mean.fill_(float(rewards.mean(dtype=np.float64)))
        self.reward_std.fill_(max(float(rewards.std(dtype=np.float64)), 1e-6))
        for name, coder in self.each():
            coder.measure(pictures[name])

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
            altered = augment(wanted, self.augmentation, generator)
            grain = torch.randn(altered.shape, generator=generator).to(altered.device)
            code = coder.encode(altered + _GRAIN * grain)
            noisy = code + coder.noise(code, generator)
            held = coder.error(coder.decode(noisy), wanted) + _HOLD * code[:, 2 * coder.points :].square().mean(-1)
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


def _axis(size: int, device: torch.device) -> Tensor:
    """The places (size,) of columns or rows, from one edge of the frame to the other."""
    return torch.linspace(-_SPAN, _SPAN, size, device=device)


def _mean_squares(pictures: Tensor) -> Tensor:
    """Mean squares of pictures (B, 3, H, W), seen at every one of ``_POOLS``: (4, B)."""
    seen = [F.avg_pool2d(pictures, min(pool, *pictures.shape[2:])) for pool in _POOLS]
    return torch.stack([scale.square().mean((1, 2, 3)) for scale in seen])


@torch.no_grad()
def drawing_error(coders: FrameCoders, segment: Segment) -> Tensor:
    """How unlike frames (B, 1, H, W, 3) and what is drawn of their codes are (cameras,), see ``FrameCoder.error``."""
    errors = []
    for name, coder in coders.each():
        wanted, there = as_pictures(segment.frames[name][:, 0])
        wrong = torch.cat(
            [coder.error(coder.decode(coder.encode(part)), part) for part in torch.split(wanted, _AT_ONCE)]
        )
        errors.append((wrong * there).sum() / there.sum().clamp(min=1))
    return torch.stack(errors)


def as_pictures(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Frames (B, H, W, 3) uint8 as (B, 3, H, W) in [0, 1], and whether each was recorded (B,): a black one was not."""
    there = frames.flatten(1).amax(1) > 0
    return frames.permute(0, 3, 1, 2).float() / 255, there.float()
