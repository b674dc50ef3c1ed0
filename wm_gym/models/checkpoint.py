"""Tensors on disk: written beside and renamed, read with every value checked. Nothing here can run code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from wm_gym.errors import ModelError
from wm_gym.files import replacing

MAX_HEADER_BYTES = 2**20
"""A longer list of tensors is refused before it is read: ours take a few kilobytes."""
_KINDS = (
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.uint8,
    torch.int32,
    torch.int64,
    torch.bool,
)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file: a kill at any moment leaves the old file or the new one."""
    # Every tensor gets memory of its own: safetensors refuses two names for one storage. The bytes are written here,
    # because its own writer makes files that nobody else may read.
    content = save({name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()})
    with replacing(path) as partial:
        partial.write_bytes(content)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        ModelError: the file is missing or damaged, or holds NaN.
    """
    try:
        _check_header(path)
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(f"{path}: cannot be read as safetensors ({reason}); train or copy it again") from error
    for name, value in tensors.items():
        if value.dtype not in _KINDS:
            raise ModelError(
                f"{path}: {name!r} holds {value.dtype}, which no file of ours does; train or copy it again"
            )
        if value.is_floating_point() and torch.isnan(value).any():
            raise ModelError(f"{path}: {name!r} holds NaN; train or copy it again")
    return tensors


def tensors_not_finite(path: Path, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Each tensor that holds an infinite value, as a fault in a line of its own."""
    for name, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            yield f"{path}: {name!r} holds a value that is not finite; train or copy it again"


def _check_header(path: Path) -> None:
    """Refuse a header that is longer than the file or than any of ours: the reader would set memory aside for it."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > min(MAX_HEADER_BYTES, path.stat().st_size):
        raise ValueError(f"a header of {length} bytes")
