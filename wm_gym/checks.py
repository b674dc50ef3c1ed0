"""What was looked at in a file or folder, and what is wrong with it.

A function that looks for faults yields each of them as one line with its place and remedy. Loading raises the first;
``python -m wm_gym.verify`` shows them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from wm_gym.errors import WorldModelError
from wm_gym.files import changed_files, missing_files

T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    subject: str
    """``files``, ``provenance``, ``table``, ..."""
    found: str
    """What is there, in a few words."""
    faults: tuple[str, ...] = ()
    """What is wrong with it; empty where nothing is."""
    made: bool = True
    """False where it could not be looked at, because what that needs is at fault itself."""


def raise_first(error: type[WorldModelError], faults: Iterable[str]) -> None:
    """Raise the first fault, if there is one."""
    for fault in faults:
        raise error(fault)


def attempt(subject: str, read: Callable[[], T], describe: Callable[[T], str]) -> tuple[T, Check] | tuple[None, Check]:
    """What ``read`` gives, or None, and the check that says so."""
    try:
        value = read()
    except WorldModelError as error:
        return None, Check(subject, "cannot be read", (str(error),))
    return value, Check(subject, describe(value))


def not_looked_at(subject: str, needed: str) -> Check:
    """A check that could not be made, because what it needs is at fault itself."""
    return Check(subject, f"not looked at: it needs the {needed}", made=False)


def check_files(folder: Path, files: Mapping[str, Any], beside: Sequence[str], remedy: str) -> Check:
    """Compare a folder with its manifest: missing, changed and foreign files.

    Args:
        folder: what is checked.
        files: name -> sha256, of the manifest.
        beside: names of files that may lie there without being listed.
        remedy: what to do about a file that is missing or changed.
    """
    held = [path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink()]
    known = {folder / name for name in (*files, *beside)}
    faults = [*missing_files(folder, files, remedy), *changed_files(folder, files, remedy)]
    faults += _foreign(path for path in held if path not in known)
    return Check("files", f"{len(held)} files, {len(files)} of them by their sha256", tuple(faults))


def check_provenance(place: Path, values: Mapping[str, Any], wanted: Sequence[str], remedy: str) -> Check:
    """Whether a manifest says where its folder comes from; ``wanted`` are keys such as ``dataset.sha256``."""
    faults, facts = [], []
    for name in wanted:
        value: Any = values
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None or value in ("", [], {}):
            faults.append(f"{place}: does not say {name!r}; {remedy}")
        else:
            facts.append(f"licence {value}" if name.endswith("licence") else name.split(".")[0])
    return Check("provenance", ", ".join(dict.fromkeys(facts)), tuple(faults))


def _foreign(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        if path.name.startswith(".partial-"):
            yield f"{path}: left by a writer that was killed; delete it, or repeat the writer's command"
        else:
            yield f"{path}: is not in the manifest; move it elsewhere"
