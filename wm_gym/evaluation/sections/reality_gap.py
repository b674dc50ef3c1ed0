"""The reality gap: how policies fare where MuJoCo is not quite the one that was recorded, one change at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wm_gym.evaluation.bench import Bench
from wm_gym.evaluation.records import Record, column, of
from wm_gym.evaluation.returns import FIRST_SEED, Contender
from wm_gym.evaluation.sections.ranking import outcome
from wm_gym.evaluation.sections.section import Measured, Plain, Section, untested
from wm_gym.evaluation.statistics import mean_interval, paired_difference_interval
from wm_gym.evaluation.worlds import PhysicsWorld
from wm_gym.evaluation.worlds.changes import Change, changes
from wm_gym.evaluation.worlds.physics import Disturbance

NOMINAL = "nominal"


def measure(bench: Bench) -> Measured:
    """Play a policy trained in imagination and one trained in MuJoCo under every change, from the same starts."""
    policies = _policies(bench)
    if not policies:
        return Measured()
    count = bench.config.gap_episodes
    starts = bench.physics.resets(range(FIRST_SEED, FIRST_SEED + count))
    cases = [Change(NOMINAL, "", Disturbance()), *changes(bench.scale.observation)]
    records: list[Record] = []
    for index in bench.progress("changed physics", range(len(cases))):
        case, limit = cases[index], bench.task.max_episode_steps
        world = PhysicsWorld(bench.task, case.axis, case.disturbance)
        for policy in policies:
            episodes = world.play(policy.actor, starts, limit, bench.config.seed)
            shared = {"axis": case.axis, "amount": case.amount, "policy": policy.name, "kind": policy.kind}
            records += [
                shared | {"episode": row, "seed": FIRST_SEED + row, **outcome(episode, limit)}
                for row, episode in enumerate(episodes)
            ]
        world.close()
    return Measured(records)


def _policies(bench: Bench) -> list[Contender]:
    """The first agent of each world; the panel's best stands in for one trained in MuJoCo."""
    inside = [contender for contender in bench.contenders if contender.kind == "imagination"][:1]
    outside = [contender for contender in bench.contenders if contender.kind == "control"][:1]
    trained = [member for member in bench.panel if member.kind == "trained"]
    if not outside and trained:
        best = max(trained, key=lambda member: np.nan_to_num(member.returned, nan=-np.inf))
        outside = [Contender(f"{best.name} of the panel", "control", best.actor)]
    return [*inside, *outside]


def judge(records: Sequence[Record], known: Mapping[str, Any], generator: np.random.Generator) -> Plain:
    """Return lost to each change, episode by episode, and whether imagination loses more than MuJoCo did."""
    if not records:
        return untested("there is no trained policy to play (agent=FOLDER, panel=FOLDER)")
    policies = {record["policy"]: record["kind"] for record in records}
    cases = dict.fromkeys((record["axis"], record["amount"]) for record in records)
    nominal = {name: column(of(records, policy=name, axis=NOMINAL), "return") for name in policies}
    table = []
    for axis, amount in cases:
        row: Plain = {"axis": axis, "amount": amount, "policies": []}
        for name, kind in policies.items():
            returns = column(of(records, policy=name, axis=axis, amount=amount), "return")
            change = paired_difference_interval(nominal[name], returns, generator)
            mean = mean_interval(returns, generator)
            row["policies"].append({"name": name, "kind": kind, "return": mean.to_dict(), "change": change.to_dict()})
        table.append(row)
    return {
        "tested": True,
        "episodes": len(next(iter(nominal.values()))),
        "policies": [{"name": name, "kind": kind} for name, kind in policies.items()],
        "table": table,
        "refitted": untested("no model was refitted on data of the changed robots"),
    }


SECTION = Section("reality_gap", measure, judge)
