"""Closed loop: what agents earn in each world from the same starts, each action chosen from what that world shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wm_gym.evaluation import statistics
from wm_gym.evaluation.bench import Bench
from wm_gym.evaluation.records import Record, column, of
from wm_gym.evaluation.report import returns_section
from wm_gym.evaluation.returns import FIRST_SEED, Contender, Returns, recorded_returns
from wm_gym.evaluation.sections.ranking import outcome
from wm_gym.evaluation.sections.section import Measured, Plain, Section
from wm_gym.evaluation.trajectories import Recorded
from wm_gym.types import Episode

ORDER = {"imagination": 0, "control": 1, "behaviour": 2, "random": 3}


def measure(bench: Bench) -> Measured:
    """Play every contender in both worlds; add the returns that were measured earlier."""
    records: list[Record] = []
    kept: list[Recorded] = []
    for contender in bench.contenders:
        physical, imagined = play(bench, contender)
        shared = {"contender": contender.name, "kind": contender.kind}
        records.append(shared | {"details": contender.details})
        for world, episodes in (("physics", physical), ("imagination", imagined)):
            limit = bench.task.max_episode_steps
            records += [
                shared | {"world": world, "episode": row, "seed": FIRST_SEED + row, **outcome(episode, limit)}
                for row, episode in enumerate(episodes)
            ]
            kept.append(Recorded("closed_loop", world, contender.name, episodes))
    for entry in bench.earlier:
        shared = {"contender": entry.name, "kind": entry.kind}
        length = entry.physical_length if np.isfinite(entry.physical_length) else None
        records.append(shared | {"details": dict(entry.details), "mean_length": length})
        records += [
            shared | {"world": "recorded", "episode": row, "return": float(value)}
            for row, value in enumerate(entry.physical_returns)
        ]
    return Measured(records, kept)


def play(bench: Bench, contender: Contender) -> tuple[list[Episode], list[Episode]]:
    """A contender's episodes in both worlds, row by row from the same start."""
    starts = bench.physics.resets(range(FIRST_SEED, FIRST_SEED + bench.config.episodes))
    limit, seed = bench.task.max_episode_steps, bench.config.seed
    shown = lambda rows: bench.progress(contender.name, rows)  # noqa: E731
    physical = bench.physics.play(contender.actor, starts, limit, seed, shown)
    return physical, bench.world.play(contender.actor, starts, limit, seed)


def judge(records: Sequence[Record], known: Mapping[str, Any], generator: np.random.Generator) -> Plain:
    """Means, gaps and agreement of paired episodes; methods with several training seeds pooled."""
    entries = sorted(entries_of(records, generator), key=lambda entry: ORDER[entry.kind])
    episodes = known["settings"]["episodes"]
    return {"tested": True, **returns_section(entries, FIRST_SEED, episodes, generator)}


def entries_of(records: Sequence[Record], generator: np.random.Generator) -> list[Returns]:
    """The returns of every contender, as they were recorded."""
    found = []
    for head in (record for record in records if "details" in record):
        rows = of(records, contender=head["contender"])
        recorded = of(rows, world="recorded")
        if recorded:
            length = head["mean_length"] if head["mean_length"] is not None else float("nan")
            values = column(recorded, "return")
            found.append(
                recorded_returns(head["contender"], head["kind"], values, generator, length, dict(head["details"]))
            )
        else:
            found.append(_paired(head, of(rows, world="physics"), of(rows, world="imagination"), generator))
    return found


def _paired(
    head: Record, physical: Sequence[Record], imagined: Sequence[Record], generator: np.random.Generator
) -> Returns:
    real, dream = column(physical, "return"), column(imagined, "return")
    middle = {
        world: statistics.interquartile_interval(returns, generator).to_dict()
        for world, returns in (("physical", real), ("imagined", dream))
    }
    return Returns(
        name=head["contender"],
        kind=head["kind"],
        physical=statistics.mean_interval(real, generator),
        physical_returns=real,
        physical_length=float(column(physical, "length").mean()),
        imagined=statistics.mean_interval(dream, generator),
        imagined_returns=dream,
        imagined_length=float(column(imagined, "length").mean()),
        left_bounds=sum(record["invalid"] for record in imagined),
        gap=statistics.paired_difference_interval(real, dream, generator),
        absolute_error=statistics.mean_interval(np.abs(dream - real), generator),
        pearson=statistics.correlation_interval(real, dream, generator),
        spearman=statistics.correlation_interval(real, dream, generator, statistics.spearman),
        details=dict(head["details"]) | {"interquartile_mean": middle},
    )


SECTION = Section("closed_loop", measure, judge)
