"""The reality gap: how policies fare where MuJoCo is not quite the one that was recorded, one change at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wm_gym.evaluation.actors import GroupActor, RandomActor
from wm_gym.evaluation.bench import Bench
from wm_gym.evaluation.held_out import stack_episodes
from wm_gym.evaluation.prediction import at_horizon, normalised_squares
from wm_gym.evaluation.records import Record, column, of, ragged
from wm_gym.evaluation.refitting import refit
from wm_gym.evaluation.returns import FIRST_SEED, Contender
from wm_gym.evaluation.sections.ranking import outcome
from wm_gym.evaluation.sections.section import Measured, Plain, Section, untested
from wm_gym.evaluation.statistics import mean_interval, paired_difference_interval, root_mean_square_interval
from wm_gym.evaluation.worlds import LearnedWorld, PhysicsWorld, moments_of
from wm_gym.evaluation.worlds.changes import Change, changes
from wm_gym.evaluation.worlds.physics import Disturbance
from wm_gym.types import Episode

NOMINAL = "nominal"
REFITTED = (("mass", "x 1.5"), ("damping", "x 2.5"), ("actuator gain", "x 0.7"))
"""Changes to which the model is also refitted: those that its dynamics could learn, at their stronger amount."""
REFIT_SEED = 40_000_000
REFIT_LIMIT = 50
"""Steps of an episode recorded for that."""
REFIT_HORIZON = 20


def measure(bench: Bench) -> Measured:
    """Play a policy trained in imagination and one trained in MuJoCo under every change, from the same starts."""
    policies = _policies(bench)
    if not policies:
        return Measured()
    cases = [Change(NOMINAL, "", Disturbance()), *changes(bench.scale.observation)]
    return Measured([*_played(bench, policies, cases), *_refitted(bench, cases)])


def _played(bench: Bench, policies: Sequence[Contender], cases: Sequence[Change]) -> list[Record]:
    count = bench.config.gap_episodes
    starts = bench.physics.resets(range(FIRST_SEED, FIRST_SEED + count))
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
    return records


def _refitted(bench: Bench, cases: Sequence[Change]) -> list[Record]:
    """Open-loop errors on some changed robots, of the model as it is and after a fit on a little of their data."""
    if not isinstance(bench.world, LearnedWorld):
        return []
    records: list[Record] = []
    chosen = [case for case in cases if (case.axis, case.amount) in REFITTED]
    for index in bench.progress("refit to a changed robot", range(len(chosen))):
        case = chosen[index]
        robot = PhysicsWorld(bench.task, case.axis, case.disturbance)
        learnt = _record(bench, robot, REFIT_SEED, bench.config.refit_episodes)
        fresh = _record(bench, robot, REFIT_SEED + 1_000_000, bench.config.gap_episodes * 2)
        robot.close()
        models = {"as it was": bench.world.trained}
        models["refitted"] = refit(bench.world.trained, learnt, bench.config.refit_updates, bench.config.seed)
        held_out = stack_episodes(fresh, REFIT_HORIZON)
        starts = moments_of(held_out.episodes, held_out.start)
        for name, trained in models.items():
            predicted = LearnedWorld(trained).follow(starts, held_out.future_actions).observations
            squares = normalised_squares(predicted, held_out, bench.scale)[0].mean(-1)
            for row in range(len(squares)):
                steps = int(held_out.running[row].sum())
                shared = {"refit": name, "axis": case.axis, "amount": case.amount, "episode": row}
                records.append(
                    shared | {"steps_learnt": sum(map(len, learnt)), "squares": squares[row, :steps].tolist()}
                )
    return records


def _record(bench: Bench, robot: PhysicsWorld, first_seed: int, episodes: int) -> list[Episode]:
    """Episodes of a changed robot, half of them smooth and half uniform random."""
    starts = robot.resets(range(first_seed, first_seed + episodes))
    halves = (RandomActor(bench.task.action_space, first_seed + n, memory=0.9 * n) for n in range(2))
    group = GroupActor(list(halves), -(-episodes // 2))
    return robot.play(group, starts, min(REFIT_LIMIT, bench.task.max_episode_steps), bench.config.seed)


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
    """Return lost to each change, episode by episode, and the error before and after a refit."""
    if not records:
        return untested("there is no trained policy to play (agent=FOLDER, panel=FOLDER)")
    played = [record for record in records if "policy" in record]
    policies = {record["policy"]: record["kind"] for record in played}
    cases = dict.fromkeys((record["axis"], record["amount"]) for record in played)
    nominal = {name: column(of(played, policy=name, axis=NOMINAL), "return") for name in policies}
    table = []
    for axis, amount in cases:
        row: Plain = {"axis": axis, "amount": amount, "policies": []}
        for name, kind in policies.items():
            returns = column(of(played, policy=name, axis=axis, amount=amount), "return")
            change = paired_difference_interval(nominal[name], returns, generator)
            mean = mean_interval(returns, generator)
            row["policies"].append({"name": name, "kind": kind, "return": mean.to_dict(), "change": change.to_dict()})
        table.append(row)
    return {
        "tested": True,
        "episodes": len(next(iter(nominal.values()))),
        "policies": [{"name": name, "kind": kind} for name, kind in policies.items()],
        "table": table,
        "refitted": _judge_refits([record for record in records if "refit" in record], generator),
    }


def _judge_refits(records: Sequence[Record], generator: np.random.Generator) -> Plain:
    """Errors on changed robots, before and after."""
    if not records:
        return untested("only a learned world can be refitted")
    rows = []
    for axis, amount in dict.fromkeys((record["axis"], record["amount"]) for record in records):
        mine = of(records, axis=axis, amount=amount)
        row: Plain = {"axis": axis, "amount": amount, "steps_learnt": mine[0]["steps_learnt"]}
        horizon = max(len(record["squares"]) for record in mine)
        for name in ("as it was", "refitted"):
            squares = ragged(of(mine, refit=name), "squares", horizon)
            found = root_mean_square_interval(np.nan_to_num(squares), np.isfinite(squares), generator)
            row[name.replace(" ", "_")] = at_horizon(found, horizon).to_dict()
        rows.append(row | {"horizon": horizon})
    return {"tested": True, "table": rows}


SECTION = Section("reality_gap", measure, judge)
