"""How a figure, a time or a machine is written in a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wm_gym.evaluation.charts import MINUS, shown_interval


def to_hundredths(figure: Mapping[str, float]) -> str:
    """A figure with its interval, two digits after the point."""
    return f"{figure['value']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}]"


def rounded(figure: Mapping[str, float]) -> str:
    """A figure with its interval, three significant digits of each."""
    return shown_interval(figure).replace(MINUS, "-")  # as the other tables write it


def interval(value: float, low: float, high: float) -> str:
    """A value with the ends of its interval, two digits after the point."""
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def duration(seconds: float | None) -> str:
    """Seconds, or minutes from a minute and a half on; empty where nobody took the time."""
    if seconds is None:
        return ""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def words(machine: Any) -> str:
    """A machine by its parts, or as it was described."""
    if isinstance(machine, Mapping):
        return ", ".join(f"{key} {value}" for key, value in machine.items())
    return str(machine)
