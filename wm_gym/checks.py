"""What was looked at in a file or folder, and what is wrong with it.

A function that looks for faults yields each of them as one line with its place and remedy. Loading raises the first;
``python -m wm_gym.verify`` shows them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wm_gym.errors import WorldModelError


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    subject: str
    """``files``, ``licence``, ``table``, ..."""
    found: str
    """What is there, in a few words."""
    faults: tuple[str, ...] = ()
    """What is wrong with it; empty where nothing is."""


def raise_first(error: type[WorldModelError], faults: Iterable[str]) -> None:
    """Raise the first fault, if there is one."""
    for fault in faults:
        raise error(fault)
