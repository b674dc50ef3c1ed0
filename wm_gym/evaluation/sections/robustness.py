"""Robustness: what the imagination does under actions that nobody sensible would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wm_gym.evaluation.actors import Actor, IntArray, RandomActor
from wm_gym.evaluation.bench import Bench
from wm_gym.evaluation.records import Record, column, of
from wm_gym.evaluation.returns import FIRST_SEED
from wm_gym.evaluation.sections.section import Measured, Plain, Section
from wm_gym.types import BoxSpec, FloatArray

ROWS = 8
LONGER = 2
"""Times the task's own limit."""
MOST_STEPS = 400


class _Bounds:
    """Every motor at one bound; with a period, from one bound to the other."""

    def __init__(self, space: BoxSpec, period: int) -> None:
        self._low, self._high = np.nan_to_num(space.low, neginf=-1.0), np.nan_to_num(space.high, posinf=1.0)
        self._period = period

    def act(self, observation: FloatArray, episodes: IntArray, step: int) -> FloatArray:
        up = self._period == 0 or (step // self._period) % 2 == 0
        return np.tile(self._high if up else self._low, (len(episodes), 1)).astype(np.float32)


def measure(bench: Bench) -> Measured:
    """Long episodes under pushing, trembling, swinging and random actions."""
    space, limit = bench.task.action_space, min(LONGER * bench.task.max_episode_steps, MOST_STEPS)
    actors: dict[str, Actor] = {
        "pushes against a bound": _Bounds(space, 0),
        "trembles between the bounds": _Bounds(space, 1),
        "swings between the bounds": _Bounds(space, 10),
        "random actions": RandomActor(space, bench.config.seed + 7),
    }
    starts = bench.physics.resets(range(FIRST_SEED, FIRST_SEED + ROWS))
    spread = np.maximum(bench.scale.observation, 1e-9)
    records = []
    for name, actor in actors.items():
        for row, episode in enumerate(bench.world.play(actor, starts, limit, bench.config.seed)):
            finite = bool(np.isfinite(episode.observations).all() and np.isfinite(episode.rewards).all())
            centred = (episode.observations - starts.observations.mean(0)) / spread
            furthest = np.abs(centred[:, list(bench.scale.moving)]).max() if finite else None
            record = {"actions": name, "row": row, "steps": limit, "finite": finite, "length": len(episode)}
            invalid = episode.truncated and len(episode) < limit
            records.append(record | {"invalid": invalid, "furthest": None if furthest is None else float(furthest)})
    return Measured(records)


def judge(records: Sequence[Record], known: Mapping[str, Any], generator: np.random.Generator) -> Plain:
    """How often the bounds were left, and whether anything was not a number."""
    table = []
    for name in dict.fromkeys(record["actions"] for record in records):
        rows = of(records, actions=name)
        furthest = column(rows, "furthest")
        table.append(
            {
                "actions": name,
                "rows": len(rows),
                "mean_length": float(column(rows, "length").mean()),
                "left_bounds": sum(record["invalid"] for record in rows),
                "not_finite": sum(not record["finite"] for record in rows),
                "furthest": float(np.nanmax(furthest)) if np.isfinite(furthest).any() else None,
            }
        )
    return {"tested": True, "steps": records[0]["steps"], "table": table}


SECTION = Section("robustness", measure, judge)
