"""One writer for one output: a second program that is told to write there ends at once, with a clear line."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wm_gym.errors import ConfigError


@contextmanager
def only_writer(output: Path) -> Iterator[None]:
    """Hold ``.NAME.lock`` beside an output until the end. The system lets go of it when the process dies.

    Raises:
        ConfigError: another process holds it.
        OSError: nothing can be written there.
    """
    path = Path(os.path.abspath(output))
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    descriptor = _acquire(lock, output)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # before it is let go: who waits for it finds that the file is another
        os.close(descriptor)


def _acquire(lock: Path, output: Path) -> int:
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise ConfigError(
                f"{output} is being written by another process; wait for its end, or choose another output"
            ) from error
        if _names(lock, descriptor):
            return descriptor
        os.close(descriptor)  # its holder has removed it in between


def _names(path: Path, descriptor: int) -> bool:
    """Whether the path still leads to the open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
