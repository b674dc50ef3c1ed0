"""Whether the actions of a log stand beside the states in which they acted, or one row off.

The change from row t to t + 1 is regressed by ridge on the state and its last change, and on the action of row t - 1,
t or t + 1. Errors are those on episodes that were left out. Of each action only the part counts that the state beside
it does not foretell: a controller's next action is a function of the very change that it would seem to explain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wm_gym.types import FloatArray

LAGS = (-1, 0, 1)
_FOLDS = 5
_RIDGE = 1e-4
_LEAST_SHARE = 0.02
_LEAST_MARGIN = 0.1
"""Of the best lag's share."""
_STANDARD_ERRORS = 3.0
_SHORTEST = 8
"""Rows of an episode, or of a block of one, that can be regressed."""


@dataclass(frozen=True)
class Alignment:
    """Which action explains a change best."""

    lag: int
    """0 where the actions stand where they should: ``state[t], action[t + lag] -> state[t + 1]``."""
    shares: dict[int, float]
    """Lag -> share of the change, beyond what the state explains, that the action explains; mean over the numbers."""
    margin: float
    """Share of the best lag minus that of lag 0."""
    certain: bool
    """The margin is more than three standard errors over episodes, and no trifle."""

    def sentence(self) -> str:
        """What was found, as a line of a report."""
        found = ", ".join(f"{lag:+d}: {share:.1%}" if lag else f"0: {share:.1%}" for lag, share in self.shares.items())
        return f"changes are explained best by the action of row t{self.lag:+d} (lag {found})"


def find_alignment(states: Sequence[FloatArray], actions: Sequence[FloatArray]) -> Alignment | None:
    """Hold the three lags against each other.

    Args:
        states: of each episode, (T, S).
        actions: of each episode, (T, A); the last row, which no change follows, is not looked at.

    Returns:
        None where there are too few rows to say.
    """
    groups = _groups(states, actions)
    if len(groups) < _FOLDS:
        return None
    plain, errors = _errors(groups, None), {lag: _errors(groups, lag) for lag in LAGS}
    total = plain.sum(axis=0)
    moving = total > 0
    if not moving.any():
        return None
    gains = {lag: ((plain - error)[:, moving] / total[moving]).mean(axis=1) for lag, error in errors.items()}
    shares = {lag: float(gain.sum()) for lag, gain in gains.items()}
    best = max(LAGS, key=lambda lag: (shares[lag], lag == 0))
    ahead = gains[best] - gains[0]
    margin = float(ahead.sum())
    noise = float(ahead.std(ddof=1) * np.sqrt(len(ahead)))
    weighty = shares[best] > _LEAST_SHARE and margin > _LEAST_MARGIN * shares[best]
    return Alignment(best, shares, margin, best != 0 and weighty and margin > _STANDARD_ERRORS * noise)


def _groups(states: Sequence[FloatArray], actions: Sequence[FloatArray]) -> list[tuple[FloatArray, FloatArray]]:
    """Episodes, each cut into blocks where they are too few to leave some out."""
    whole = [(s, a) for s, a in zip(states, actions, strict=True) if len(s) >= _SHORTEST]
    if len(whole) >= _FOLDS:
        return whole
    cut = [
        (block_states, block_actions)
        for s, a in whole
        for block_states, block_actions in zip(np.array_split(s, _FOLDS), np.array_split(a, _FOLDS), strict=True)
    ]
    return [(s, a) for s, a in cut if len(s) >= _SHORTEST]


def _errors(groups: Sequence[tuple[FloatArray, FloatArray]], lag: int | None) -> FloatArray:
    """(groups, S): squared error of each number's change in each group, fitted to the groups of the other folds."""
    inputs, changes = zip(*(_rows(s, a, lag) for s, a in groups), strict=True)
    fold = np.arange(len(groups)) % _FOLDS
    errors = np.zeros((len(groups), changes[0].shape[1]))
    for left_out in range(_FOLDS):
        x = np.concatenate([part for part, of in zip(inputs, fold, strict=True) if of != left_out])
        y = np.concatenate([part for part, of in zip(changes, fold, strict=True) if of != left_out])
        known = 2 * groups[0][0].shape[1]  # the state and its last change; what is left is the action
        if lag is not None:
            foretold = _Ridge(x[:, :known], x[:, known:])
            surprise = x[:, known:] - foretold(x[:, :known])
            x = np.concatenate([x[:, :known], surprise], axis=1)
        model = _Ridge(x, y)
        for group in np.flatnonzero(fold == left_out):
            given = inputs[group]
            if lag is not None:
                given = np.concatenate([given[:, :known], given[:, known:] - foretold(given[:, :known])], axis=1)
            errors[group] = np.square(changes[group] - model(given)).sum(axis=0)
    return errors


def _rows(states: FloatArray, actions: FloatArray, lag: int | None) -> tuple[FloatArray, FloatArray]:
    """What a change is regressed on, and the change; the same rows for every lag."""
    rows = np.arange(1, len(states) - 2)
    parts = [states[rows], states[rows] - states[rows - 1]]
    if lag is not None:
        parts.append(actions[rows + lag])
    return np.concatenate(parts, axis=1).astype(np.float64), (states[rows + 1] - states[rows]).astype(np.float64)


class _Ridge:
    """A linear model with an intercept, fitted on standardised inputs."""

    def __init__(self, x: FloatArray, y: FloatArray) -> None:
        self._mean, self._offset = x.mean(0), y.mean(0)
        spread = x.std(0)
        self._scale = np.where(spread > 1e-9 * (np.abs(self._mean) + 1e-12), spread, np.inf)
        z = (x - self._mean) / self._scale
        self._weights = np.linalg.solve(z.T @ z + _RIDGE * len(x) * np.eye(x.shape[1]), z.T @ (y - self._offset))

    def __call__(self, x: FloatArray) -> FloatArray:
        return np.asarray((x - self._mean) / self._scale @ self._weights + self._offset)
