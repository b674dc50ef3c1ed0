"""Controls: five worlds whose verdict is known go through the same measurements, in small.

If MuJoCo itself did not pass, or one of the others passed the gate that it was built to fail, the report would be
worth nothing, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from wm_gym.evaluation.bench import Bench, PanelMember, ReportConfig, section_generator
from wm_gym.evaluation.records import Record, rounded
from wm_gym.evaluation.sections import actions, exploit, open_loop, planning, plausibility, ranking
from wm_gym.evaluation.sections.section import Measured, Plain, Section
from wm_gym.evaluation.verdicts import FAIL, PASS
from wm_gym.evaluation.worlds import PhysicsWorld
from wm_gym.evaluation.worlds.controls import control_worlds
from wm_gym.policies.scripted import write_scripts

SMALL = ReportConfig(
    episodes=16,
    horizon=20,
    panel_episodes=3,
    moments=16,
    search_starts=3,
    search_samples=24,
    plan_episodes=2,
    plan_steps=12,
    plan_samples=8,
)
"""No control is built to fail by what a search or a plan finds: these are as short as still finds something."""
SECTIONS = (
    open_loop.SECTION,
    ranking.SECTION,
    exploit.SECTION,
    actions.SECTION,
    plausibility.SECTION,
    planning.SECTION,
)
MOST_STEPS = 200
"""Of an episode: a control is found out sooner."""


def measure(bench: Bench) -> Measured:
    """The gates of every control world."""
    config = replace(SMALL, seed=bench.config.seed)
    task = replace(bench.task, max_episode_steps=min(bench.task.max_episode_steps, MOST_STEPS))
    controls = control_worlds(task, bench.held_out.episodes)
    records: list[Record] = []
    for index in bench.progress("control worlds", range(len(controls))):
        control = controls[index]
        small = Bench(task, control.world, bench.physics, config, panel=scripted_panel(bench))
        records.append({"control": control.world.name, "fails": control.fails, "gates": gates_of(small)})
        if isinstance(control.world, PhysicsWorld):
            control.world.close()
    return Measured(records)


def scripted_panel(bench: Bench) -> list[PanelMember]:
    """Policies that need no training, for worlds in which not the policies are asked about."""
    scripts = write_scripts(bench.task.action_space, bench.task.control_dt, bench.config.seed)
    return [PanelMember(name, "scripted", script) for name, script in scripts.items()]


def gates_of(bench: Bench) -> list[Plain]:
    """Every gate that needs no agent."""
    by_section: dict[str, list[Any]] = {}
    known: dict[str, Any] = {"task": bench.task.to_dict(), "settings": bench.config.to_dict(), "records": by_section}
    gates: list[Plain] = []
    for section in SECTIONS:
        by_section[section.name] = [rounded(record) for record in section.measure(bench).records]
        judged = section.judge(by_section[section.name], known, section_generator(bench.config.seed, section.name))
        known[section.name] = rounded(judged)
        gates += known[section.name].get("gates", [])
    return gates


def judge(records: Sequence[Record], known: Mapping[str, Any], generator: np.random.Generator) -> Plain:
    """Whether every control came out as it was built."""
    table = []
    for record in records:
        verdicts = {entry["name"]: entry["verdict"] for entry in record["gates"]}
        if record["fails"] is None:
            as_built = bool(verdicts) and all(verdict == PASS for verdict in verdicts.values())
        else:
            as_built = verdicts.get(record["fails"]) == FAIL
        row = {"control": record["control"], "built_to_fail": record["fails"], "as_built": as_built}
        table.append(row | {"verdicts": verdicts, "gates": record["gates"]})
    return {"tested": True, "as_built": all(row["as_built"] for row in table), "table": table}


SECTION = Section("controls", measure, judge)
