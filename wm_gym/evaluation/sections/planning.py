"""Planning: how much worse is a plan made in the imagination than the same planner's in MuJoCo?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wm_gym.evaluation.actors import RandomActor
from wm_gym.evaluation.bench import Bench, section_generator
from wm_gym.evaluation.planning import plan_episodes, succeeded
from wm_gym.evaluation.records import Record, column, of
from wm_gym.evaluation.returns import FIRST_SEED
from wm_gym.evaluation.sections.section import Measured, Plain, Section, ratio_interval
from wm_gym.evaluation.statistics import mean_interval, paired_difference_interval
from wm_gym.evaluation.verdicts import gate
from wm_gym.policies.planner import PlannerConfig
from wm_gym.types import Episode

HORIZON, ITERATIONS = 12, 2
GATE = 0.2


def measure(bench: Bench) -> Measured:
    """Plan in the judged world, in MuJoCo, and not at all; act in MuJoCo from the same starts."""
    config, task = bench.config, bench.task
    steps = min(config.plan_steps, task.max_episode_steps)
    starts = bench.physics.resets(range(FIRST_SEED, FIRST_SEED + config.plan_episodes))
    settings = PlannerConfig("mppi", HORIZON, config.plan_samples, ITERATIONS, elites=max(2, config.plan_samples // 8))
    played: dict[str, list[Episode]] = {}
    for name, world in (("model", bench.world), ("physics", bench.physics)):
        # Both planners draw the same candidates: only what they are told of them differs.
        generator = section_generator(config.seed, "planning")
        shown = lambda rows, name=name: bench.progress(f"plan in the {name}", rows)  # noqa: E731
        played[name] = plan_episodes(world, bench.physics, starts, steps, settings, generator, shown)
    played["random"] = bench.physics.play(RandomActor(task.action_space, config.seed), starts, steps, config.seed)
    return Measured(
        [
            {
                "planner": name,
                "episode": row,
                "seed": FIRST_SEED + row,
                "steps": steps,
                "return": float(np.sum(episode.rewards, dtype=np.float64)),
                "length": len(episode),
                "success": succeeded(task, episode),
            }
            for name, episodes in played.items()
            for row, episode in enumerate(episodes)
        ]
    )


def judge(records: Sequence[Record], known: Mapping[str, Any], generator: np.random.Generator) -> Plain:
    """The planning gap: return lost by planning in the imagination, as a share of what planning can win."""
    rows = {name: of(records, planner=name) for name in ("model", "physics", "random")}
    model, physics, random = (column(rows[name], "return") for name in rows)
    gap = ratio_interval(physics - model, physics - random, generator).to_dict()
    section: Plain = {
        "tested": True,
        "episodes": len(model),
        "steps": rows["model"][0]["steps"],
        "planner": {"method": "mppi", "horizon": HORIZON, "iterations": ITERATIONS},
        "returns": {name: mean_interval(column(rows[name], "return"), generator).to_dict() for name in rows},
        "gap": gap,
        "success": None,
        "success_gap": None,
        "gates": [gate("planning_gap", gap, at_most=GATE)],
    }
    if rows["model"][0]["success"] is not None:
        section["success"] = {n: mean_interval(column(rows[n], "success"), generator).to_dict() for n in rows}
        found = paired_difference_interval(
            column(rows["model"], "success"), column(rows["physics"], "success"), generator
        )
        section["success_gap"] = found.to_dict()
    return section


SECTION = Section("planning", measure, judge)
