"""Ranking: does the imagination order the policies of a panel as MuJoCo does?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wm_gym.evaluation import ranking
from wm_gym.evaluation.actors import GroupActor
from wm_gym.evaluation.bench import Bench
from wm_gym.evaluation.prediction_powered import powered_mean
from wm_gym.evaluation.records import Record, column, of
from wm_gym.evaluation.returns import FIRST_SEED
from wm_gym.evaluation.sections.section import Measured, Plain, Section, untested
from wm_gym.evaluation.statistics import mean_interval
from wm_gym.evaluation.trajectories import Recorded
from wm_gym.evaluation.verdicts import gate
from wm_gym.evaluation.worlds import LearnedWorld
from wm_gym.types import Episode, FloatArray


def measure(bench: Bench) -> Measured:
    """Play every policy of the panel in both worlds, from the same starts."""
    panel, episodes = bench.panel, bench.config.panel_episodes
    if not panel:
        return Measured()
    starts = bench.physics.resets(range(FIRST_SEED, FIRST_SEED + episodes))
    rows = starts.rows(np.tile(np.arange(episodes), len(panel)))
    group = GroupActor([member.actor for member in panel], episodes)
    limit, seed = bench.task.max_episode_steps, bench.config.seed
    physical = bench.physics.play(group, rows, limit, seed, lambda r: bench.progress("panel in MuJoCo", r))
    imagined = bench.world.play(group, rows, limit, seed, lambda r: bench.progress("panel, imagined", r))
    records = []
    for number, (real, dream) in enumerate(zip(physical, imagined, strict=True)):
        member, episode = panel[number // episodes], number % episodes
        shared = {"policy": member.name, "kind": member.kind, "episode": episode, "seed": FIRST_SEED + episode}
        inside = supported(bench, real)
        records.append(shared | {"world": "physics", **outcome(real, limit), "supported": inside})
        records.append(shared | {"world": "imagination", **outcome(dream, limit)})
    # Every step of one episode of each policy: of all of them it would be gigabytes.
    first = range(0, len(physical), episodes)
    kept = [
        Recorded("ranking", world, panel[number // episodes].name, [played[number]])
        for world, played in (("physics", physical), ("imagination", imagined))
        for number in first
    ]
    return Measured(records, kept)


def outcome(episode: Episode, limit: int) -> Plain:
    """What an episode came to."""
    return {
        "return": float(np.sum(episode.rewards, dtype=np.float64)),
        "length": len(episode),
        "terminated": episode.terminated,
        # Cut before its time: the bounds of the world were left.
        "invalid": episode.truncated and len(episode) < limit,
    }


def supported(bench: Bench, episode: Episode) -> float | None:
    """Share of an episode's steps that lie in the support of the data; None for a world without data."""
    if not isinstance(bench.world, LearnedWorld):
        return None
    import torch

    support = bench.world.trained.support
    states, actions = (torch.as_tensor(part) for part in (episode.observations[1:], episode.actions))
    return float(support.contains(states, actions).float().mean())


def judge(records: Sequence[Record], known: Mapping[str, Any], generator: np.random.Generator) -> Plain:
    """Figures over the panel, the floor, and what a few physics episodes are worth beside the imagination."""
    if not records:
        return untested("no panel of policies was given (panel=FOLDER)")
    names = list(dict.fromkeys(record["policy"] for record in records))
    if len(names) < 3:
        return untested(f"a panel of {len(names)} policies has no order to speak of")
    physical, imagined = (_matrix(records, names, world) for world in ("physics", "imagination"))
    span = ranking.return_range(physical)
    if not np.isfinite(span):
        return untested("all policies of the panel earn the same in MuJoCo")
    found = ranking.rank_panel(physical, imagined, generator)
    floor = ranking.self_repeat(physical, generator)
    figures = ranking.plain_figures(found)
    section = {
        "tested": True,
        "policies": len(names),
        "episodes": physical.shape[1],
        "range": span,
        **figures,
        "floor": ranking.plain_figures(floor),
        "length_pearson": _lengths(records, names, generator),
        "permutation_p": ranking.permutation_p(physical.mean(1), imagined.mean(1), generator),
        "panel": [_row(name, records, physical[i], imagined[i], generator) for i, name in enumerate(names)],
        "episodes_saved": _saved(physical, imagined, generator),
        "trained_alone": _trained_alone(records, names, physical, imagined, generator),
        "gates": [],
    }
    twice = 2 * floor["mmrv"].value if np.isfinite(floor["mmrv"].value) else 0.0
    section["gates"] = [
        gate("spearman", figures["spearman"], at_least=0.8),
        gate("pearson", figures["pearson"], at_least=0.9),
        gate("regret", figures["regret"], at_most=0.1),
        gate("mmrv", figures["mmrv"], at_most=twice),
    ]
    return section


def _trained_alone(
    records: Sequence[Record],
    names: Sequence[str],
    physical: FloatArray,
    imagined: FloatArray,
    generator: np.random.Generator,
) -> Plain:
    """The figures and their floor over the trained policies, which are harder to tell apart than those of all kinds."""
    trained = {record["policy"] for record in records if record["kind"] == "trained"}
    rows = [row for row, name in enumerate(names) if name in trained]
    if len(rows) < 3:
        return untested(f"{len(rows)} trained policies have no order to speak of")
    real, dream = physical[rows], imagined[rows]
    span = ranking.return_range(real)
    if not np.isfinite(span):
        return untested("all trained policies earn the same in MuJoCo")
    return {
        "tested": True,
        "policies": len(rows),
        "range": span,
        **ranking.plain_figures(ranking.rank_panel(real, dream, generator)),
        "floor": ranking.plain_figures(ranking.self_repeat(real, generator)),
    }


def _lengths(records: Sequence[Record], names: Sequence[str], generator: np.random.Generator) -> Plain | None:
    """How the policies' episode lengths correlate between the worlds; None where every episode is as long."""
    physical, imagined = (_matrix(records, names, world, "length") for world in ("physics", "imagination"))
    if np.ptp(physical.mean(1)) == 0 or np.ptp(imagined.mean(1)) == 0:
        return None
    return ranking.rank_panel(physical, imagined, generator)["pearson"].to_dict()


def _matrix(records: Sequence[Record], names: Sequence[str], world: str, what: str = "return") -> FloatArray:
    """(k, E) of each policy and episode."""
    return np.stack([column(of(records, policy=name, world=world), what) for name in names])


def _row(
    name: str, records: Sequence[Record], physical: FloatArray, imagined: FloatArray, generator: np.random.Generator
) -> Plain:
    real, dream = (of(records, policy=name, world=world) for world in ("physics", "imagination"))
    inside = [record["supported"] for record in real if record["supported"] is not None]
    return {
        "name": name,
        "kind": real[0]["kind"],
        "physical": mean_interval(physical, generator).to_dict(),
        "imagined": mean_interval(imagined, generator).to_dict(),
        "physical_length": float(column(real, "length").mean()),
        "imagined_length": float(column(dream, "length").mean()),
        "invalid": sum(record["invalid"] for record in dream),
        "supported": float(np.mean(inside)) if inside else None,
    }


def _saved(physical: FloatArray, imagined: FloatArray, generator: np.random.Generator) -> Plain | None:
    """Half of the starts are played in the physics, the other half only imagined: what does the imagination add?"""
    half = physical.shape[1] // 2
    if half < 2:
        return None
    powered = [powered_mean(r[:half], d[:half], d[half:]) for r, d in zip(physical, imagined, strict=True)]
    saved = mean_interval(np.array([entry.saved for entry in powered]), generator)
    # Half of the starts are held back from the estimate: the other half's mean is what it should have found.
    return {"physics_episodes": half, "imagined_episodes": physical.shape[1], **saved.to_dict()}


SECTION = Section("ranking", measure, judge)
