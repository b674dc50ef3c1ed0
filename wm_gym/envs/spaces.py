"""From the plain values of a TaskSpec to Gymnasium's spaces, and from an agent's actions to finite, bounded tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from wm_gym.errors import ActionError, ConfigError, ObservationError
from wm_gym.types import BoxSpec, TaskSpec


def box(spec: BoxSpec) -> spaces.Box:
    """A float32 ``Box``."""
    return spaces.Box(np.array(spec.low, np.float32), np.array(spec.high, np.float32), dtype=np.float32)


def observation_box(obs_type: str, task: TaskSpec, example: Tensor) -> spaces.Box:
    """The space of what an environment shows: the recorded states', frames', or the latent vectors'.

    Args:
        obs_type: ``state``, ``image`` or ``latent``.
        task: what was recorded.
        example: an observation.
    """
    if obs_type == "state":
        return box(task.observation_space)
    if obs_type == "image":
        return spaces.Box(0, 255, tuple(example.shape), np.uint8)
    return spaces.Box(-np.inf, np.inf, tuple(example.shape), np.float32)


def batched_actions(action: Any, task: TaskSpec, rows: int, device: torch.device) -> Tensor:
    """Check and clip the actions of ``rows`` environments: (rows, A) float32.

    Raises:
        ActionError: the shape is wrong or a value is not finite.
    """
    size = task.action_space.size
    values = np.asarray(action)
    if values.dtype.kind not in "fiu":
        raise ActionError(f"an action of numbers is needed, not of {values.dtype}; the environment is unchanged")
    if values.shape != (rows, size):
        shown, needed = (values.shape, (rows, size)) if rows > 1 else (values.shape[1:], (size,))
        raise ActionError(f"action has shape {shown}, {needed} is needed; the environment is unchanged")
    if not np.isfinite(values).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise ActionError(
            f"action[{column}] of environment {row} is {values[row, column]}; the environment is unchanged"
        )
    low, high = np.array(task.action_space.low), np.array(task.action_space.high)
    return torch.from_numpy(np.clip(values, low, high).astype(np.float32)).to(device)


def start_context(options: Mapping[str, Any], task: TaskSpec, rows: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The user's own start from ``reset(options=...)``: observations (rows, C+1, S) and the actions between them.

    Args:
        options: holds ``observation`` (S,) or (rows, S), or ``observations`` and ``actions`` of a context.
        task: what was recorded.
        rows: how many environments start.
        device: where the tensors go.

    Raises:
        ObservationError: a shape is wrong.
    """
    size, actions = task.observation_space.size, task.action_space.size
    if "actions" in options and "observations" not in options:
        raise ConfigError("options['actions'] goes with options['observations'], the context that it leads through")
    if "observation" in options:
        observations = batched_numbers(options["observation"], rows, (size,), "observation")[:, None]
        between = np.zeros((rows, 0, actions), np.float32)
    else:
        shape = _numbers(options["observations"], "observations").shape
        length = shape[-2] - 1 if len(shape) > 1 else 0
        observations = batched_numbers(options["observations"], rows, (length + 1, size), "observations")
        between = np.zeros((rows, 0, actions), np.float32)
        if length:
            between = batched_numbers(options.get("actions", ()), rows, (length, actions), "actions")
    return torch.from_numpy(observations).to(device), torch.from_numpy(between).to(device)


def batched_numbers(value: Any, rows: int, shape: tuple[int, ...], name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A user's numbers for every row (rows, *shape); given once, they are for all rows.

    Raises:
        ObservationError: they have another shape, or are no numbers; tells the option's name.
    """
    array = _numbers(value, name)
    if array.shape == shape:
        array = np.repeat(array[None], rows, axis=0)
    if array.shape != (rows, *shape):
        raise ObservationError(f"options[{name!r}] has shape {array.shape}, {shape} or {(rows, *shape)} is needed")
    return array


def _numbers(value: Any, name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    try:
        return np.array(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ObservationError(f"options[{name!r}] is no array of numbers ({error})") from error
