"""Numbers that are one thing: a sine and a cosine of an angle, a quaternion. Found in logs, which seldom say so.

A world model that does not know of them leaves the circle: after some imagined steps the squares of a sine and a cosine
add up to 1.5, and the robot that it imagines has no physics any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from wm_gym.types import FloatArray, ObservationMap

ROUNDING = 1e-3
"""How far a sum of squares may be from 1, on the whole."""
COMPENSATED = 0.02
"""And as a share of what its parts move: a height of 1 m beside a small speed stays near 1, but by no law."""


def find_unit_vectors(states: FloatArray, candidates: Sequence[int]) -> ObservationMap:
    """Pairs of columns that lie on the unit circle, and four columns in a row that lie on the unit sphere.

    Args:
        states: (N, S), all rows of a recording.
        candidates: columns that are plain numbers.

    Returns:
        The pairs, as (sine, cosine) in the order of the columns, which is as good as the other; and the first columns
        of quaternions. No column is in two of them: what lies nearest has it. None that never moves, or is a flag
        (-1, 0 or 1), is in any.
    """
    squares = np.square(np.asarray(states, dtype=np.float64))
    moving = [column for column in candidates if not np.isin(np.unique(states[:, column])[:4], (-1, 0, 1)).all()]
    moving = [column for column in moving if np.ptp(states[:, column]) > 0]
    groups: list[tuple[int, ...]] = list(combinations(moving, 2))
    groups += [four for first in moving if set(four := tuple(range(first, first + 4))) <= set(moving)]
    found = sorted((error, group) for group in groups if (error := _error(squares[:, list(group)])) is not None)
    chosen: list[tuple[int, ...]] = []
    for _, group in found:
        if not set(group) & {column for other in chosen for column in other}:
            chosen.append(group)
    return ObservationMap(
        sin_cos=tuple(sorted((group[0], group[1]) for group in chosen if len(group) == 2)),
        quaternions=tuple(sorted(group[0] for group in chosen if len(group) == 4)),
    )


def restored(states: FloatArray, described: ObservationMap) -> FloatArray:
    """States (N, S) back on the circle and the sphere, which interpolation leaves on a chord."""
    states = states.copy()
    for group in (*described.sin_cos, *(range(first, first + 4) for first in described.quaternions)):
        length = np.linalg.norm(states[:, list(group)], axis=1, keepdims=True)
        states[:, list(group)] /= np.maximum(length, 1e-6)
    return states


def _error(squares: FloatArray) -> float | None:
    """How far a group is from the unit sphere; None where it does not lie on it."""
    sums = squares.sum(axis=1)
    off, moved = float(np.abs(sums - 1).max()), float(squares.std(axis=0).max())
    return off if off <= ROUNDING and sums.std() <= COMPENSATED * moved else None
