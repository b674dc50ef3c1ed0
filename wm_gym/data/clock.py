"""Time stamps of logs: what is wrong with them, and resampling to a fixed period."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from wm_gym.types import FloatArray

LONGEST_BRIDGE = 3.5
"""Periods of silence that resampling bridges by a straight line; a longer one ends the episode."""
_RATE_TOLERANCE = 0.02
_MEND = "resample=true mends it"


@dataclass(frozen=True)
class Clock:
    """What the stamps should be."""

    dt: float
    """Seconds between two samples."""
    tolerance: float = 0.1
    """Share of ``dt`` by which a step may differ from it."""


def stamp_faults(place: str, lines: Sequence[int], stamps: FloatArray, clock: Clock, resample: bool) -> Iterator[str]:
    """All that is wrong with the stamps (T,), s, of one episode.

    Args:
        place: file that they stand in.
        lines: (T,) of each stamp in it.
        stamps: seconds.
        clock: what they should be.
        resample: whether jitter, other rates and short gaps will be mended, and need not be named.
    """
    steps = np.diff(stamps)
    if not len(steps):
        return
    for wrong, words in ((steps == 0, "the same time stamp as"), (steps < 0, "a time stamp before that of")):
        if len(rows := np.flatnonzero(wrong)):
            yield (
                f"{place}: line {lines[rows[0] + 1]}: {words} line {lines[rows[0]]}{_more(rows)}: remove the row, or "
                "name the column that tells episodes apart (episode: in the map)"
            )
    if (steps <= 0).any():
        return
    if resample:
        yield from _gap_faults(place, lines, steps, clock, LONGEST_BRIDGE, "cut_gaps=true ends the episode there")
        return
    rate = float(np.median(steps)) / clock.dt
    if abs(rate - 1) > _RATE_TOLERANCE:
        yield f"{place}: samples every {rate * clock.dt:.4g} s, not {clock.dt:.4g} s: {_rate_remedy(rate)}"
        return
    yield from _gap_faults(place, lines, steps, clock, 1.5, f"{_MEND} up to {int(LONGEST_BRIDGE)} periods")
    off = np.where(steps > 1.5 * clock.dt, 0.0, np.abs(steps - clock.dt))
    if len(rows := np.flatnonzero(off > clock.tolerance * clock.dt)):
        worst = int(off.argmax())
        yield (
            f"{place}: line {lines[worst + 1]}: {steps[worst] * 1e3:.4g} ms after the sample before, not "
            f"{clock.dt * 1e3:.4g} ms (jitter){_more(rows)}: {_MEND}"
        )


def pieces(stamps: FloatArray, dt: float) -> list[slice]:
    """The stretches of at least two rows between silences that are too long to bridge."""
    cuts = np.flatnonzero(np.diff(stamps) > LONGEST_BRIDGE * dt) + 1
    ends = [0, *cuts.tolist(), len(stamps)]
    return [slice(first, last) for first, last in pairwise(ends) if last - first >= 2]


def grid(stamps: FloatArray, dt: float) -> FloatArray:
    """Moments every ``dt`` from the first stamp to the last, s."""
    return np.asarray(stamps[0] + dt * np.arange(int((stamps[-1] - stamps[0]) / dt + 1e-6) + 1))


def at_moments(stamps: FloatArray, values: FloatArray, moments: FloatArray) -> FloatArray:
    """States (T, S), which change continuously, at other moments (N,): straight lines between samples, (N, S)."""
    return np.stack([np.interp(moments, stamps, column) for column in values.T], axis=1)


def between_moments(stamps: FloatArray, values: FloatArray, moments: FloatArray) -> FloatArray:
    """Integrals of values (T, D), each held from its stamp to the next, between N moments: (N - 1, D), value x s.

    Divided by the period it is the constant command that weighs as much as those that were in force; of rewards
    divided by the duration of their own step it is what was earned, and nothing is lost or earned twice.
    """
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values[:-1] * np.diff(stamps)[:, None], axis=0)])
    return np.asarray(np.diff(at_moments(stamps, total, moments), axis=0))


def _gap_faults(
    place: str, lines: Sequence[int], steps: FloatArray, clock: Clock, limit: float, remedy: str
) -> Iterator[str]:
    if len(rows := np.flatnonzero(steps > limit * clock.dt)):
        first = int(rows[0])
        missing = round(float(steps[first]) / clock.dt) - 1
        yield (
            f"{place}: line {lines[first + 1]}: {missing} sample{'s' * (missing != 1)} missing before it (a gap of "
            f"{steps[first]:.4g} s){_more(rows)}: {remedy}"
        )


def _rate_remedy(rate: float) -> str:
    power = np.log10(rate) / 3
    if round(power) != 0 and abs(power - round(power)) < 0.02:
        return "is the unit of the time right (time_unit: s, ms, us or ns in the map)?"
    return f"give control_dt in the map; {_MEND}"


def _more(rows: np.ndarray[Any, Any]) -> str:
    return f" (and in {len(rows) - 1} rows more)" if len(rows) > 1 else ""
