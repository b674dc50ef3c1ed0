"""Tensors on disk: written beside and renamed, read with every value checked. Nothing here can run code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from wm_gym.errors import ModelError
from wm_gym.files import flush


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file: a kill at any moment leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    # Every tensor gets memory of its own: safetensors refuses two names for one storage. The bytes are written here,
    # because its own writer makes files that nobody else may read.
    partial.write_bytes(save({name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}))
    flush(partial)
    os.replace(partial, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        ModelError: the file is missing or damaged, or holds NaN.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors ({error}); train or copy it again") from error
    for name, value in tensors.items():
        if value.is_floating_point() and torch.isnan(value).any():
            raise ModelError(f"{path}: {name!r} holds NaN; train or copy it again")
    return tensors
