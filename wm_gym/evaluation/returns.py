"""What a policy earns in the imagination and in the physics, from the same start states.

The gap is imagined minus physical, episode by episode: positive where the imagination promises too much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from wm_gym.evaluation import statistics
from wm_gym.evaluation.actors import Actor
from wm_gym.evaluation.rollouts import episode_returns, first_observations, imagined_episodes, physical_episodes
from wm_gym.evaluation.statistics import Interval
from wm_gym.types import Episode, FloatArray

FIRST_SEED = 10_000
"""Physics episodes of the comparison are reset with seeds from here on."""

MakeImagination = Callable[[int], gym.vector.VectorEnv[Any, Any, Any]]


@dataclass(frozen=True)
class Contender:
    """Somebody whose returns are compared."""

    name: str
    kind: str
    """``imagination`` (trained there), ``control`` (trained in the physics), ``random`` or ``behaviour`` (the data)."""
    actor: Actor
    details: dict[str, Any] = field(default_factory=dict)
    """Plain values for the report: training seed, algorithm, steps."""


@dataclass(frozen=True)
class Returns:
    """One contender's undiscounted returns. Paired figures exist where both worlds were played."""

    name: str
    kind: str
    physical: Interval
    physical_returns: FloatArray
    """(N,)."""
    physical_length: float
    """Mean steps of an episode; NaN where only returns were recorded."""
    imagined: Interval | None = None
    imagined_returns: FloatArray | None = None
    """(N,), from the same start states."""
    imagined_length: float = float("nan")
    left_bounds: int = 0
    """Imagined episodes that were stopped because they left the bounds of the world."""
    gap: Interval | None = None
    """Mean of imagined minus physical."""
    absolute_error: Interval | None = None
    """Mean of |imagined minus physical|."""
    pearson: Interval | None = None
    spearman: Interval | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pooled:
    """Several training seeds of one method together; intervals resample seeds, then episodes."""

    name: str
    kind: str
    seeds: int
    physical: Interval
    imagined: Interval | None
    gap: Interval | None


def play_both_worlds(
    contender: Contender,
    physics: gym.Env[Any, Any],
    make_imagination: MakeImagination,
    seeds: Iterable[int],
    control_dt: float,
    imagination_seed: int,
) -> tuple[list[Episode], list[Episode]]:
    """Play the physics from each seed, then the imagination from the very same first observations.

    Returns:
        Physical and imagined episodes, row by row from the same start.
    """
    physical = physical_episodes(physics, contender.actor, seeds, control_dt, contender.name)
    envs = make_imagination(len(physical))
    try:
        starts = first_observations(physical)
        imagined = imagined_episodes(envs, contender.actor, starts, imagination_seed, control_dt, contender.name)
    finally:
        envs.close()
    return physical, imagined


def compare_returns(
    contender: Contender,
    physical: Sequence[Episode],
    imagined: Sequence[Episode],
    limit: int,
    generator: np.random.Generator,
) -> Returns:
    """Means, gap and agreement of paired episodes of at most ``limit`` steps."""
    real, dream = episode_returns(physical), episode_returns(imagined)
    return Returns(
        name=contender.name,
        kind=contender.kind,
        physical=statistics.mean_interval(real, generator),
        physical_returns=real,
        physical_length=float(np.mean([len(episode) for episode in physical])),
        imagined=statistics.mean_interval(dream, generator),
        imagined_returns=dream,
        imagined_length=float(np.mean([len(episode) for episode in imagined])),
        left_bounds=sum(episode.truncated and len(episode) < limit for episode in imagined),
        gap=statistics.paired_difference_interval(real, dream, generator),
        absolute_error=statistics.mean_interval(np.abs(dream - real), generator),
        pearson=statistics.correlation_interval(real, dream, generator),
        spearman=statistics.correlation_interval(real, dream, generator, statistics.spearman),
        details=contender.details,
    )


def recorded_returns(
    name: str,
    kind: str,
    returns: FloatArray,
    generator: np.random.Generator,
    length: float = float("nan"),
    details: dict[str, Any] | None = None,
) -> Returns:
    """Returns that were measured in the physics earlier; they have no imagined side."""
    values = np.asarray(returns, dtype=np.float64)
    interval = statistics.mean_interval(values, generator)
    return Returns(name, kind, interval, values, length, details=details or {})


def pool(name: str, members: Sequence[Returns], generator: np.random.Generator) -> Pooled:
    """The mean over training seeds, each counting alike."""
    dreams = [m.imagined_returns for m in members if m.imagined_returns is not None]
    both = len(dreams) == len(members)
    gaps = [m.imagined_returns - m.physical_returns for m in members if both and m.imagined_returns is not None]
    return Pooled(
        name=name,
        kind=members[0].kind,
        seeds=len(members),
        physical=statistics.clustered_mean_interval([m.physical_returns for m in members], generator),
        imagined=statistics.clustered_mean_interval(dreams, generator) if both else None,
        gap=statistics.clustered_mean_interval(gaps, generator) if both else None,
    )


def difference(first: Sequence[Returns], second: Sequence[Returns], generator: np.random.Generator) -> Interval:
    """Physical return of the second method minus the first's, over training seeds and episodes."""
    return statistics.clustered_difference_interval(
        [m.physical_returns for m in first], [m.physical_returns for m in second], generator
    )
