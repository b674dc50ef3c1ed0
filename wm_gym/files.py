"""Files that survive a kill: written whole, flushed to the disk, and known by their hash."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wm_gym.errors import DataError, WorldModelError


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write strict JSON (no NaN) that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    partial.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    flush(partial)
    os.replace(partial, path)


def read_json(path: Path, error: type[WorldModelError] = DataError) -> dict[str, Any]:
    """Read a JSON object; a missing or damaged file raises ``error``, which names it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as cause:
        raise error(f"{path}: cannot be read ({cause.strerror})") from cause
    except ValueError as cause:
        raise error(f"{path}: damaged: not JSON ({cause})") from cause
    if not isinstance(value, dict):
        raise error(f"{path}: damaged: not a JSON object")
    return value


def flush(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(folder: Path) -> None:
    """:func:`flush` everything below a folder, and the folder."""
    for path in sorted(folder.rglob("*"), reverse=True):
        flush(path)
    flush(folder)


def file_hash(path: Path) -> str:
    """Sha256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def process_is_alive(pid: int) -> bool:
    """Whether a process of this machine has this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
