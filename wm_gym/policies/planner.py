"""Planning by trying action sequences: CEM and MPPI over anything that can score them, a world model or MuJoCo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wm_gym.errors import ConfigError
from wm_gym.types import BoxSpec, FloatArray

Score = Callable[[FloatArray], FloatArray]
"""Action sequences (E, K, H, A), K candidates in each of E situations -> the return of each (E, K)."""


@dataclass
class PlannerConfig:
    """How hard a plan is looked for."""

    method: str = "mppi"
    """``mppi`` weighs all candidates by the exponential of their return (Williams et al. 2017, "Information theoretic
    MPC"); ``cem`` keeps the elites (Rubinstein 1999; Chua et al. 2018, "PETS")."""
    horizon: int = 15
    """Steps planned ahead."""
    samples: int = 64
    """Candidates of each iteration."""
    iterations: int = 3
    elites: int = 8
    """Candidates that ``cem`` refits to."""
    temperature: float = 0.3
    """Of ``mppi``, in standard deviations of the candidates' returns."""
    spread: float = 0.5
    """Standard deviation of the first candidates, in half ranges of the action."""

    def check(self) -> None:
        """Raise ``ConfigError`` where no plan could be looked for."""
        if self.method not in ("cem", "mppi"):
            raise ConfigError(f"method={self.method!r}: one of cem, mppi")
        for name in ("horizon", "samples", "iterations", "elites"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: at least 1 is needed")
        if self.elites > self.samples:
            raise ConfigError(f"elites={self.elites}: no more than samples={self.samples}")
        if not (self.temperature > 0 and self.spread > 0):
            raise ConfigError("temperature and spread must be positive")


class Planner:
    """Plans E situations side by side; remembers nothing between two plans."""

    def __init__(self, space: BoxSpec, config: PlannerConfig, generator: np.random.Generator) -> None:
        """Plan within an action space; an end that does not exist is taken at one unit.

        Raises:
            ConfigError: a setting is out of range.
        """
        config.check()
        self.config = config
        self._low, self._high = np.nan_to_num(space.low, neginf=-1.0), np.nan_to_num(space.high, posinf=1.0)
        self._generator = generator

    def first_guess(self, situations: int) -> FloatArray:
        """(E, H, A): the middle of the action space."""
        return np.tile((self._low + self._high) / 2, (situations, self.config.horizon, 1))

    def plan(self, score: Score, guess: FloatArray) -> FloatArray:
        """Improve a plan.

        Args:
            score: gives the returns of candidates; one that is not finite counts as the worst.
            guess: (E, H, A) where the search begins.

        Returns:
            (E, H, A): the best sequence found, the refined mean among them.
        """
        mean, deviation = guess, np.full_like(guess, self.config.spread) * (self._high - self._low) / 2
        for _ in range(self.config.iterations):
            noise = self._generator.normal(size=(len(mean), self.config.samples, *mean.shape[1:]))
            noise[:, 0] = 0.0  # what was found so far stays among the candidates
            candidates = np.clip(mean[:, None] + deviation[:, None] * noise, self._low, self._high)
            returns = _finite(score(candidates))
            weights = self._weights(returns)
            before = mean
            mean = np.einsum("ek,ekha->eha", weights, candidates)
            deviation = np.sqrt(np.einsum("ek,ekha->eha", weights, np.square(candidates - mean[:, None])))
            best = np.take_along_axis(candidates, returns.argmax(1)[:, None, None, None], axis=1)[:, 0]
        finalists = np.stack([mean, before, best], axis=1)
        chosen = _finite(score(finalists)).argmax(axis=1)
        return np.asarray(finalists[np.arange(len(finalists)), chosen])

    @staticmethod
    def advance(plan: FloatArray) -> FloatArray:
        """The rest of a plan after its first step, its last action repeated: where the next search begins."""
        return np.concatenate([plan[:, 1:], plan[:, -1:]], axis=1)

    def _weights(self, returns: FloatArray) -> FloatArray:
        """(E, K), adding up to one in each situation."""
        if self.config.method == "cem":
            threshold = np.sort(returns, axis=1)[:, -self.config.elites][:, None]
            chosen = (returns >= threshold).astype(np.float64)
            return np.asarray(chosen / chosen.sum(1, keepdims=True))
        scale = self.config.temperature * np.maximum(returns.std(1, keepdims=True), 1e-12)
        weights = np.exp((returns - returns.max(1, keepdims=True)) / scale)
        return np.asarray(weights / weights.sum(1, keepdims=True))


def _finite(returns: FloatArray) -> FloatArray:
    """What is not finite becomes the worst that was met."""
    finite = np.where(np.isfinite(returns), returns, np.inf)
    worst = np.where(np.isfinite(finite.min()), finite.min(), 0.0)
    return np.asarray(np.where(np.isfinite(returns), returns, worst))
