"""Speed beside MuJoCo, on the machine that wrote the report. The one section that no seed repeats."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from wm_gym.envs import WorldModelVectorEnv
from wm_gym.evaluation.bench import Bench
from wm_gym.evaluation.records import Record
from wm_gym.evaluation.returns import FIRST_SEED
from wm_gym.evaluation.sections.section import Measured, Plain, Section, untested
from wm_gym.evaluation.worlds import LearnedWorld
from wm_gym.physics.tasks import make_physics

BATCHES = (1, 64, 1024)
SECONDS = 1.0
"""Of each measurement, at least."""


def measure(bench: Bench) -> Measured:
    """Steps a second of the environments that a policy trains in, actions drawn beforehand."""
    if not isinstance(bench.world, LearnedWorld):
        return Measured()
    generator, space = bench.generator("speed"), bench.task.action_space
    low, high = np.nan_to_num(space.low, neginf=-1.0), np.nan_to_num(space.high, posinf=1.0)
    records = [{"world": "physics", "batch": 1, **_physics(bench, low, high, generator)}]
    for batch in BATCHES:
        envs = WorldModelVectorEnv(num_envs=batch, model=bench.world.trained)
        envs.reset(seed=FIRST_SEED)
        actions = generator.uniform(low, high, size=(batch, space.size)).astype(np.float32)
        found = _timed(partial(envs.step, actions), batch)
        records.append({"world": "imagination", "batch": batch, **found})
        envs.close()
    return Measured(records)


def _physics(bench: Bench, low: Any, high: Any, generator: np.random.Generator) -> Plain:
    env = make_physics(bench.task)
    env.reset(seed=FIRST_SEED)
    action = generator.uniform(low, high).astype(np.float32)

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()

    found = _timed(step, 1)
    env.close()
    return found


def _timed(step: Callable[[], Any], rows: int) -> Plain:
    step()  # the first call allocates
    started, steps = time.perf_counter(), 0
    while (seconds := time.perf_counter() - started) < SECONDS:
        step()
        steps += rows
    return {"steps": steps, "seconds": seconds}


def judge(records: Sequence[Record], known: Mapping[str, Any], generator: np.random.Generator) -> Plain:
    """Steps a second, and whether MuJoCo is the faster one."""
    if not records:
        return untested("only a learned world has a speed of its own")
    rates = [{"world": r["world"], "batch": r["batch"], "steps_per_second": r["steps"] / r["seconds"]} for r in records]
    physics = next(row["steps_per_second"] for row in rates if row["world"] == "physics")
    table = [row | {"times_physics": row["steps_per_second"] / physics} for row in rates]
    slower = [row["batch"] for row in table if row["world"] == "imagination" and row["times_physics"] < 1]
    return {"tested": True, "table": table, "physics_faster_at": slower}


SECTION = Section("speed", measure, judge, repeatable=False)
