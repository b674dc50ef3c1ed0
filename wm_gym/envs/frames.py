"""Frames between the outside, uint8 (H, W, 3), and models, float (3, H, W) in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wm_gym.data.lerobot import nominal_fps
from wm_gym.data.video import LiveVideo
from wm_gym.envs.spaces import batched_numbers
from wm_gym.errors import ConfigError, ObservationError
from wm_gym.models import WorldModel
from wm_gym.types import FrameArray, Observation

STATE = "state"
"""Key of the state observation beside the names of cameras."""


def as_frames(pictures: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> (B, H, W, 3) uint8."""
    return (255 * pictures).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def as_pictures(frames: FrameArray, device: torch.device) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2).float() / 255


def side_by_side(frames: Sequence[FrameArray]) -> FrameArray:
    """Frames (H_i, W_i, 3) in a row, on black where one is lower than the highest."""
    height = max(len(frame) for frame in frames)
    return np.concatenate([np.pad(frame, ((0, height - len(frame)), (0, 0), (0, 0))) for frame in frames], axis=1)


def frame_context(
    options: Mapping[str, Any], model: WorldModel, camera: str | None, rows: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The user's own start from ``reset(options=...)``: embeddings (rows, C+1, F) and the actions between them.

    Args:
        options: holds ``observation``, or ``observations`` and ``actions`` of a context. An observation is the frame of
            one camera, or a mapping of camera names (and ``state``) to frames; a camera that is left out is imagined.
            Frames are looked at as a recording would hold them.
        model: with cameras.
        camera: whose frame is meant where no name is given; None for the model's first.
        rows: how many environments start.
        device: where the model is.

    Raises:
        ObservationError: a shape or type is wrong, or no frame is given; shows what is needed.
        ConfigError: an option is missing.
    """
    if "actions" in options and "observations" not in options:
        raise ConfigError("options['actions'] goes with options['observations'], the context that it leads through")
    option = "observation" if "observation" in options else "observations"
    given = options[option]
    if not isinstance(given, Mapping):
        given = {camera or model.cameras[0].name: given}
    length = 0 if option == "observation" else _context_steps(given, model)
    films: dict[str, FrameArray] = {}
    for spec in model.cameras:
        if spec.name in given:
            place = f"options[{option!r}] of camera {spec.name!r}"
            checked = checked_frames(given[spec.name], (spec.height, spec.width, 3), place, length, rows)
            fps = nominal_fps(model.task.control_dt)
            different = checked[:1] if (checked == checked[:1]).all() else checked  # one frame for all rows, as a rule
            held = np.stack([LiveVideo(fps).pass_all(film) for film in different])
            films[spec.name] = np.repeat(held, len(checked) // len(held), axis=0)
    known = {*(spec.name for spec in model.cameras), STATE}
    if unknown := [name for name in given if name not in known]:
        raise ObservationError(f"options[{option!r}] names {unknown[0]!r}; this model knows {', '.join(sorted(known))}")
    if not films:
        raise ObservationError(f"options[{option!r}] holds no frame: a camera model cannot start without one")
    states = None
    if STATE in given and "state" in model.obs_types:
        size = model.task.observation_space.size
        once: tuple[int, ...] = (size,) if option == "observation" else (length + 1, size)
        states = batched_numbers(given[STATE], rows, once, option).reshape(rows, length + 1, size)
        if not np.isfinite(states).all():
            raise ObservationError(
                f"options[{option!r}] holds a state that is not finite; the environment is unchanged"
            )
    embeddings = []
    for step in range(length + 1):
        shown = {name: as_pictures(film[:, step], device) for name, film in films.items()}
        state = None if states is None else torch.from_numpy(states[:, step]).to(device)
        embeddings.append(model.encode(Observation(state, shown)))
    actions = np.zeros((rows, 0, model.task.action_space.size), np.float32)
    if length:
        actions = batched_numbers(options.get("actions", ()), rows, (length, actions.shape[-1]), "actions")
    return torch.stack(embeddings, 1), torch.from_numpy(actions).to(device)


def checked_frames(value: Any, shape: tuple[int, ...], place: str, length: int = 0, rows: int = 1) -> FrameArray:
    """Frames (rows, length + 1, H, W, 3), once they are known to be such; given for one row, they are for all.

    Args:
        value: (H, W, 3) uint8, or (length + 1, H, W, 3), or either for every row.
        shape: (H, W, 3).
        place: where the value stands, for the error.
        length: steps between the first frame and the last.
        rows: environments.

    Raises:
        ObservationError: another size, type or order of axes; shows both.
    """
    array = np.asarray(value)
    once = (length + 1, *shape) if length or array.ndim == 5 else shape
    if array.shape == once:
        array = np.repeat(array[None], rows, axis=0)
    if array.dtype != np.uint8 or array.shape not in ((rows, *once), (rows, 1, *shape)):
        raise ObservationError(
            f"{place} has shape {np.asarray(value).shape} {array.dtype}, {once} uint8 is needed: height, width, colour "
            "(red, green, blue), 0 to 255"
        )
    return array.reshape(rows, length + 1, *shape)


def _context_steps(given: Mapping[str, Any], model: WorldModel) -> int:
    """C of a context of C+1 frames."""
    for spec in model.cameras:
        if spec.name in given:
            shape = np.shape(given[spec.name])
            return max(0, shape[-4] - 1) if len(shape) > 3 else 0
    return 0
