"""From the plain values of a TaskSpec to Gymnasium's spaces, and from an agent's actions to finite, bounded tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from wm_gym.errors import ActionError, ObservationError
from wm_gym.types import BoxSpec, TaskSpec


def box(spec: BoxSpec) -> spaces.Box:
    """A float32 ``Box``."""
    return spaces.Box(np.array(spec.low, np.float32), np.array(spec.high, np.float32), dtype=np.float32)


def batched_actions(action: Any, task: TaskSpec, rows: int, device: torch.device) -> Tensor:
    """Check and clip the actions of ``rows`` environments: (rows, A) float32.

    Raises:
        ActionError: the shape is wrong or a value is not finite.
    """
    size = task.action_space.size
    values = np.asarray(action, dtype=np.float32)
    if values.shape != (rows, size):
        raise ActionError(f"action has shape {values.shape}, {(rows, size)} is needed; the environment is unchanged")
    if not np.isfinite(values).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise ActionError(
            f"action[{column}] of environment {row} is {values[row, column]}; the environment is unchanged"
        )
    low, high = np.array(task.action_space.low, np.float32), np.array(task.action_space.high, np.float32)
    return torch.from_numpy(np.clip(values, low, high)).to(device)


def start_context(options: dict[str, Any], task: TaskSpec, rows: int, device: torch.device) -> tuple[Tensor, Tensor]:
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
    if "observation" in options:
        observations = _rows(options["observation"], rows, (size,), "observation")[:, None]
        between = np.zeros((rows, 0, actions), np.float32)
    else:
        length = np.asarray(options.get("actions", ())).shape[-2] if len(options.get("actions", ())) else 0
        observations = _rows(options["observations"], rows, (length + 1, size), "observations")
        between = np.zeros((rows, 0, actions), np.float32)
        if length:
            between = _rows(options["actions"], rows, (length, actions), "actions")
    return torch.from_numpy(observations).to(device), torch.from_numpy(between).to(device)


def _rows(value: Any, rows: int, shape: tuple[int, ...], name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    array = np.array(value, dtype=np.float32)
    if array.shape == shape:
        array = np.repeat(array[None], rows, axis=0)
    if array.shape != (rows, *shape):
        raise ObservationError(f"options[{name!r}] has shape {array.shape}, {shape} or {(rows, *shape)} is needed")
    return array
