"""Units of logged columns: what each is worth in SI, and columns whose numbers cannot be in the unit they claim."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wm_gym.errors import ConfigError
from wm_gym.types import FloatArray


@dataclass(frozen=True)
class Unit:
    """A unit as it may stand in a column map."""

    quantity: str
    factor: float
    """What one of it is in SI."""


UNITS: Mapping[str, Unit] = {
    "1": Unit("number", 1.0),
    "%": Unit("number", 0.01),
    "rad": Unit("angle", 1.0),
    "deg": Unit("angle", math.pi / 180),
    "rev": Unit("angle", 2 * math.pi),
    "rad/s": Unit("angular speed", 1.0),
    "deg/s": Unit("angular speed", math.pi / 180),
    "rpm": Unit("angular speed", 2 * math.pi / 60),
    "m": Unit("length", 1.0),
    "cm": Unit("length", 1e-2),
    "mm": Unit("length", 1e-3),
    "m/s": Unit("speed", 1.0),
    "cm/s": Unit("speed", 1e-2),
    "mm/s": Unit("speed", 1e-3),
    "m/s2": Unit("acceleration", 1.0),
    "g": Unit("acceleration", 9.80665),
    "N": Unit("force", 1.0),
    "Nm": Unit("torque", 1.0),
    "mNm": Unit("torque", 1e-3),
    "A": Unit("current", 1.0),
    "mA": Unit("current", 1e-3),
    "V": Unit("voltage", 1.0),
    "mV": Unit("voltage", 1e-3),
    "s": Unit("time", 1.0),
    "ms": Unit("time", 1e-3),
    "us": Unit("time", 1e-6),
    "ns": Unit("time", 1e-9),
}
_SPEED_OF = {"angle": "angular speed", "length": "speed"}
_MOST_TURNS = 2
"""A joint with an end stop that turns further is rare; an angle in degrees under the name rad is not."""
_SURE = 0.95
"""Correlation from which a speed is taken for the speed of a position."""


def unit_named(name: str, column: str) -> Unit:
    """The unit of a column.

    Raises:
        ConfigError: there is no such unit; names the nearest.
    """
    if name not in UNITS:
        near = difflib.get_close_matches(name, UNITS, 1, 0.3)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"column {column!r}: unknown unit {name!r}; {meant}(units: {', '.join(UNITS)})")
    return UNITS[name]


def turn_faults(
    place: str, lines: Sequence[int], name: str, unit: str, values: FloatArray, unbounded: bool
) -> Iterator[str]:
    """An angle of more turns than a joint makes, or one that jumps from one end of its range to the other.

    Args:
        place: file that the column stands in.
        lines: (T,) of each value in it.
        name: of the column.
        unit: as the map says.
        values: (T,) rad.
        unbounded: the map says that it turns without a limit: then both are as they should be.
    """
    if UNITS[unit].quantity != "angle" or unbounded:
        return
    far = np.flatnonzero(np.abs(values) > 2 * math.pi * _MOST_TURNS)
    if len(far):
        shown = values[far[0]] / UNITS[unit].factor
        other = "deg" if unit == "rad" else "rad"
        yield (
            f"{place}: line {lines[far[0]]}: {name!r} is {shown:.4g} {unit}, more than {_MOST_TURNS} turns: is it in "
            f"{other}? say so in the map, or list it under unbounded"
        )
        return
    jumps = np.flatnonzero(np.abs(np.diff(values)) > math.pi)
    if len(jumps):
        yield (
            f"{place}: line {lines[jumps[0] + 1]}: {name!r} jumps by more than half a turn between two samples: list "
            "it under unbounded where it turns without a limit"
        )


def speed_faults(
    names: Sequence[str], units: Sequence[str], episodes: Sequence[FloatArray], dt: float
) -> Iterator[str]:
    """Speeds that are those of a position but for a factor: one of the two is in another unit.

    Args:
        names: (S,) of the state's columns.
        units: (S,) as the map says.
        episodes: each (T, S), SI.
        dt: seconds between two rows.
    """
    kinds = [UNITS[unit].quantity for unit in units]
    whole = [episode for episode in episodes if len(episode) > 3]
    if not whole:
        return
    slopes = np.concatenate([(episode[2:] - episode[:-2]) / (2 * dt) for episode in whole])
    values = np.concatenate([episode[1:-1] for episode in whole])
    for speed, kind in enumerate(kinds):
        matching = [place for place, of in enumerate(kinds) if _SPEED_OF.get(of) == kind]
        found = [(_correlation(slopes[:, place], values[:, speed]), place) for place in matching]
        if not found or max(found)[0] < _SURE:
            continue
        place = max(found)[1]
        ratio = float(values[:, speed] @ slopes[:, place] / (slopes[:, place] @ slopes[:, place]))
        if not 0.5 < ratio < 2.0:
            yield (
                f"{names[speed]!r} in {units[speed]} is {ratio:.3g} times the speed at which {names[place]!r} in "
                f"{units[place]} changes: one of the two units in the map is wrong, or that of the time"
            )


def _correlation(first: FloatArray, second: FloatArray) -> float:
    size = float(first.std() * second.std())
    return float(((first - first.mean()) * (second - second.mean())).mean()) / size if size > 0 else 0.0
