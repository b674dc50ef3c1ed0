"""Files that survive a kill: written whole, flushed to the disk, and known by their hash. Read without trust."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from wm_gym.errors import DataError, WorldModelError

MAX_JSON_BYTES = 16 * 2**20
"""A larger JSON file is refused: read, it takes up to thirty times its size in memory."""
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux's renameat2


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write strict JSON (no NaN) that appears whole or not at all."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path, error: type[WorldModelError] = DataError) -> dict[str, Any]:
    """Read a JSON object, strictly: a key given twice, NaN, infinity and depth without end are refused.

    A missing or damaged file raises ``error``, which names it.
    """
    try:
        if path.exists() and not path.is_file():
            raise error(f"{path}: not a file")  # a pipe would be waited for without end
        if path.stat().st_size > MAX_JSON_BYTES:
            raise error(f"{path}: damaged: {path.stat().st_size} bytes are more than any JSON of ours has")
        text = path.read_text(encoding="utf-8")
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite_number)
    except OSError as cause:
        raise error(f"{path}: cannot be read ({cause.strerror})") from cause
    except (ValueError, RecursionError) as cause:
        raise error(f"{path}: damaged: not JSON ({cause})") from cause
    if not isinstance(value, dict):
        raise error(f"{path}: damaged: not a JSON object")
    return value


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``. What is written there takes the place of ``path`` when all went well.

    Where writing fails the older file stays as it was, and nothing is left beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        yield partial
        flush(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """As :func:`replacing`, for a folder: the older one is exchanged for the new one as a whole, then removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(folder)
    try:
        partial.mkdir()
        yield partial
        flush_tree(partial)
        try:
            partial.rename(folder)  # there is no older one, or an empty folder
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            _exchange(partial, folder)
        flush(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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


def missing_files(folder: Path, files: Mapping[str, Any], remedy: str) -> Iterator[str]:
    """What is wrong with the names of a manifest (name -> sha256): each fault in a line of its own."""
    for name in files:
        if not _is_inside(name):
            yield f"{folder}: the manifest names {name[:200]!r}, which is no file of this folder; {remedy}"
        elif not (folder / name).is_file():
            yield f"{folder / name}: missing; {remedy}"


def changed_files(folder: Path, files: Mapping[str, Any], remedy: str) -> Iterator[str]:
    """Which of the files that are there differ from their sha256 in a manifest."""
    for name, expected in files.items():
        if _is_inside(name) and (folder / name).is_file() and file_hash(folder / name) != expected:
            yield f"{folder / name}: changed since it was written (sha256 differs); {remedy}"


def process_is_alive(pid: int) -> bool:
    """Whether a process of this machine has this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _partial(path: Path) -> Path:
    """This process's temporary name for ``path``, once those of killed processes are gone."""
    for left in path.parent.glob(".partial-*"):
        owner = re.fullmatch(rf"\.partial-(\d+)-{re.escape(path.name)}", left.name)
        if owner and (int(owner[1]) == os.getpid() or not process_is_alive(int(owner[1]))):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    return path.with_name(f".partial-{os.getpid()}-{path.name}")


def _exchange(one: Path, other: Path) -> None:
    """Swap two folders: in one step where the system can, else in three, between which a kill leaves ``.old-NAME``."""
    swap = getattr(ctypes.CDLL(None), "renameat2", None)
    if swap and swap(_AT_FDCWD, bytes(one), _AT_FDCWD, bytes(other), _RENAME_EXCHANGE) == 0:
        return
    aside = other.with_name(f".old-{other.name}")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _is_inside(name: str) -> bool:
    """Whether a name of a manifest is a plain path below its folder."""
    path = PurePosixPath(name)
    plain = str(path) == name and not path.is_absolute() and len(name) < 1000 and "\0" not in name
    return plain and all(part != ".." and len(part) < 250 for part in path.parts) and name != "."


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {name[:60]!r} is given twice")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _finite_number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is beyond any number")
    return value
