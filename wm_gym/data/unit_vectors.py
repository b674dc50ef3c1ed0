"""Numbers that are one thing: a sine and a cosine of an angle, a quaternion. Found in logs, which seldom say so.

A world model that does not know of them leaves the circle: after some imagined steps the squares of a sine and a cosine
add up to 1.5, and the robot that it imagines has no physics any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from wm_gym.types import FloatArray

ROUNDING = 1e-3
"""How far a sum of squares may be from 1, on the whole."""
COMPENSATED = 0.02
"""And as a share of what its parts move: a height of 1 m beside a small speed stays near 1, but by no law."""


def find_unit_vectors(
    states: FloatArray, candidates: Sequence[int]
) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Pairs of columns that lie on the unit circle, and four columns in a row that lie on the unit sphere.

    Args:
        states: (N, S), all rows of a recording.
        candidates: columns that are plain numbers.

    Returns:
        The pairs, as (sine, cosine) in the order of the columns, which is as good as the other; and the first columns
        of quaternions. No column is in two of them, and none that never moves is in any.
    """
    squares = np.square(np.asarray(states, dtype=np.float64))
    moving = [column for column in candidates if np.ptp(states[:, column]) > 0]
    pairs = _disjoint((pair for pair in combinations(moving, 2)), squares)
    left = set(moving) - {column for pair in pairs for column in pair}
    fours = [tuple(range(first, first + 4)) for first in sorted(left) if set(range(first, first + 4)) <= left]
    return tuple((first, second) for first, second in pairs), tuple(four[0] for four in _disjoint(fours, squares))


def _disjoint(groups: Iterable[tuple[int, ...]], squares: FloatArray) -> list[tuple[int, ...]]:
    """Groups whose squares add up to 1, the best of those that share a column."""
    found = sorted((error, group) for group in groups if (error := _error(squares[:, list(group)])) is not None)
    taken: set[int] = set()
    chosen = []
    for _, group in found:
        if not taken & set(group):
            taken |= set(group)
            chosen.append(group)
    return sorted(chosen)


def _error(squares: FloatArray) -> float | None:
    """How far a group is from the unit sphere; None where it does not lie on it."""
    sums = squares.sum(axis=1)
    off, moved = float(np.abs(sums - 1).max()), float(squares.std(axis=0).max())
    return off if off <= ROUNDING and sums.std() <= COMPENSATED * moved else None
