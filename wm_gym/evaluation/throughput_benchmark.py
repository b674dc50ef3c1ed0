"""Imagined and physical worlds on the same cores: every figure of ``benchmarks/measure_throughput.py``."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from wm_gym.envs.fused_imagination import without_reports
from wm_gym.envs.sb3 import WorldModelVecEnv
from wm_gym.errors import ConfigError
from wm_gym.evaluation import throughput, throughput_physics
from wm_gym.evaluation.throughput import Plain, Progress, Runner, time_in_turn
from wm_gym.models import TrainedModel
from wm_gym.models.state_ensemble import StateEnsemble, StateEnsembleConfig
from wm_gym.types import TaskSpec

NOT_MEASURED = "NOT MEASURED"
OMITTED = "gym.make_vec, omit"
"""Runs the vector environment without uncertainty."""
MBRL_SHAPE = StateEnsembleConfig(members=7, width=200, layers=4)
MBRL_MODES = {"7 x [4 x 200]": "report", "7 x [4 x 200], one a row": "omit"}
"""mbrl-lib's configurations hold 7 x [4 x 200] and pass each row through one of them, as ours does where uncertainty is
omitted; to report it, all seven are advanced in every row."""


@dataclass(frozen=True)
class Amounts:
    """How much is measured."""

    rows: tuple[int, ...] = (1, 64, 1024, 4096)
    most: int = 1024
    """Rows at which worlds are compared, and at which sizes of networks are tried."""
    blocks: int = 5
    seconds: float = 0.5
    """Of a block."""
    latency_calls: int = 5000
    growth_steps: int = 1_000_000
    ages: tuple[int, ...] = (1, 100, 250, 500)
    widths: tuple[int, ...] = (50, 100, 200, 400)
    members: tuple[int, ...] = (2, 5, 10)
    learning_steps: int = 100_000
    """Frames of stable-baselines3's PPO in imagination; a tenth of them in MuJoCo."""
    imports: int = 3


QUICK = Amounts(
    rows=(1, 8),
    most=8,
    blocks=2,
    seconds=0.02,
    latency_calls=20,
    growth_steps=100,
    ages=(1, 5),
    widths=(20,),
    members=(2,),
    learning_steps=128,
    imports=1,
)


def measure_throughput(trained: TrainedModel, amounts: Amounts, threads: int, tell: Progress) -> Plain:
    """Every figure but that of mbrl-lib, which lives in an environment of its own.

    Args:
        trained: a state ensemble whose robot MuJoCo has.
        amounts: of everything.
        threads: of torch and of MuJoCo.
        tell: is told what has just been timed.

    Raises:
        ConfigError: the model is no state ensemble, or its robot is not MuJoCo's.
    """
    model, task = trained.model, trained.task
    if not isinstance(model, StateEnsemble):
        raise ConfigError(f"a model of family {model.family!r}: only state ensembles are timed")
    if task.env_id is None:
        raise ConfigError(f"{task.name} has no simulator to be compared with")
    found: Plain = {"threads": threads, "operations": throughput.operations(model)}
    found["batches"] = measure_batches(trained, amounts, threads, tell)
    found["physics"] = time_in_turn(_gymnasium_makers(task, amounts), amounts.blocks, amounts.seconds, tell)
    compared: list[Callable[[], Runner]] = [
        partial(throughput.vector_runner, trained, amounts.most),
        throughput.matrix_runner,
    ]
    resized = throughput.resized(trained, MBRL_SHAPE)
    for name, mode in MBRL_MODES.items():
        timed = f"gym.make_vec, {name}"
        compared.append(partial(throughput.vector_runner, resized, amounts.most, timed, uncertainty=mode))
    found["compared"] = time_in_turn(compared, amounts.blocks, amounts.seconds, tell)
    found["envpool"] = "measured" if throughput_physics.in_envpool(task) else NOT_MEASURED
    found["cuda"] = measure_cuda(trained, amounts, tell)
    found["fraction"] = found["compared"][0]["median"] * found["operations"] / found["compared"][1]["median"]
    runner = throughput.gym_runner(trained)
    found["latency"] = throughput.measure_latency(runner, amounts.latency_calls)
    runner.close()
    tell("latency")
    runner = throughput.vector_runner(trained, amounts.most)
    found["memory"] = throughput.measure_growth(runner, amounts.growth_steps)
    runner.close()
    tell("memory")
    found["growth"] = measure_sizes(trained, amounts, tell)
    found["learning"] = measure_learning(trained, amounts, threads, tell)
    found["imports"] = throughput.measure_imports(amounts.imports)
    tell("imports")
    found["ratios"] = ratios(found, amounts.most)
    return found


def measure_batches(trained: TrainedModel, amounts: Amounts, threads: int, tell: Progress) -> list[Plain]:
    """The faces of imagination, and MuJoCo's own batches, at every number of rows."""
    found = []
    for rows in amounts.rows:
        makers: list[Callable[[], Runner]] = [partial(throughput.gym_runner, trained)] if rows == 1 else []
        makers.append(partial(throughput.vector_runner, trained, rows))
        makers.append(partial(throughput.vector_runner, trained, rows, OMITTED, uncertainty="omit"))
        makers.append(partial(throughput.sb3_runner, trained, rows))
        makers += throughput_physics.physics_makers(trained.task, rows, threads)
        found += time_in_turn(makers, amounts.blocks, amounts.seconds, tell)
    return found


def _gymnasium_makers(task: TaskSpec, amounts: Amounts) -> list[Callable[[], Runner]]:
    """Gymnasium's own vector environments of MuJoCo; more rows, or processes than cores, do not make them faster."""
    cores = os.cpu_count() or 1
    sync = [partial(throughput_physics.vector_runner, task, rows, "sync") for rows in amounts.rows if rows <= 64]
    processes = sorted({cores, 4 * cores})
    return [*sync, *(partial(throughput_physics.vector_runner, task, rows, "async") for rows in processes)]


def measure_cuda(trained: TrainedModel, amounts: Amounts, tell: Progress) -> Any:
    """The vector environment on a GPU at every number of rows, where there is one."""
    if not torch.cuda.is_available():
        return NOT_MEASURED
    makers = [partial(throughput.vector_runner, trained, rows, "cuda", device="cuda") for rows in amounts.rows]
    return time_in_turn(makers, amounts.blocks, amounts.seconds, tell)


def measure_sizes(trained: TrainedModel, amounts: Amounts, tell: Progress) -> Plain:
    """How cost grows: with steps since reset, with the width of the networks, and with their number."""
    model = trained.model
    assert isinstance(model, StateEnsemble)

    def rates(sizes: Sequence[StateEnsembleConfig], values: Sequence[int]) -> list[Plain]:
        resized = [throughput.resized(trained, size) for size in sizes]
        makers = [partial(throughput.vector_runner, each, amounts.most) for each in resized]
        timed = time_in_turn(makers, amounts.blocks, amounts.seconds, tell)
        return [
            figure | {"value": value, "operations": throughput.operations(each.model)}  # type: ignore[arg-type]
            for value, each, figure in zip(values, resized, timed, strict=True)
        ]

    ages = throughput.measure_age(trained, amounts.most, amounts.ages, calls=max(1, amounts.blocks * 4))
    return {
        "age": ages,
        "width": rates([replace(model.shape, width=width) for width in amounts.widths], amounts.widths),
        "members": rates([replace(model.shape, members=members) for members in amounts.members], amounts.members),
    }


def measure_learning(trained: TrainedModel, amounts: Amounts, threads: int, tell: Progress) -> list[Plain]:
    """Frames a second of stable-baselines3's PPO, learning included, each side at several sizes of its batches."""
    task, cores, found = trained.task, os.cpu_count() or 1, []
    small = amounts.learning_steps < 10_000
    imagined = [(8, 4, 16)] if small else [(256, 50, 1600), (512, 50, 6400), (1024, 50, 12800), (2048, 25, 12800)]
    physical = [(2, 16, 16)] if small else [(1, 2048, 64), (cores, 1024, 256), (4 * cores, 256, 1024)]
    for world, sizes, frames in (
        ("imagination", imagined, amounts.learning_steps),
        ("MuJoCo, SubprocVecEnv", physical, max(amounts.learning_steps // 10, 64)),
    ):
        for rows, steps, batch in sizes:
            envs = _learning_envs(world, trained, task, rows)
            try:
                learner = PPO("MlpPolicy", envs, n_steps=steps, batch_size=batch, seed=0, device="cpu")
                learner.learn(rows * steps)  # which does not count
                begun = time.perf_counter()
                learner.learn(max(frames, rows * steps))
                taken = time.perf_counter() - begun
            finally:
                envs.close()
            figure = {"world": world, "num_envs": rows, "n_steps": steps, "batch_size": batch}
            found.append(figure | {"rate": learner.num_timesteps / taken})
            tell(f"PPO, {world}, {rows} rows")
    return found


def _learning_envs(world: str, trained: TrainedModel, task: TaskSpec, rows: int) -> VecEnv:
    if world == "imagination":
        return WorldModelVecEnv(trained, rows, seed=0, **without_reports(trained, {}))  # as agents are trained
    if rows == 1:
        return DummyVecEnv([partial(_physical, task)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SubprocVecEnv([partial(_physical, task) for _ in range(rows)])


def _physical(task: TaskSpec) -> gym.Env[Any, Any]:
    return gym.make(str(task.env_id), **dict(task.env_kwargs))


def ratios(found: Plain, most: int) -> Plain:
    """Imagination over each rival, at ``most`` rows or each side's best where rows differ."""
    batches = {(figure["name"], figure["rows"]): figure["median"] for figure in found["batches"]}
    ours = batches.get(("gym.make_vec", most), found["compared"][0]["median"])
    gymnasium = max(figure["median"] for figure in found["physics"])
    best = {
        world: max(figure["rate"] for figure in found["learning"] if figure["world"] == world)
        for world in ("imagination", "MuJoCo, SubprocVecEnv")
    }
    told = {
        "mujoco.rollout": ours / batches[("mujoco.rollout", most)],
        "mujoco.batch": ours / batches[("mujoco.batch", most)],
        "MuJoCo, make_vec at its best": ours / gymnasium,
        "PPO, MuJoCo at its best": best["imagination"] / best["MuJoCo, SubprocVecEnv"],
    }
    omitted = batches[(OMITTED, most)]
    told |= {
        "mujoco.rollout, uncertainty omitted": omitted / batches[("mujoco.rollout", most)],
        "MuJoCo, make_vec at its best, uncertainty omitted": omitted / gymnasium,
    }
    if ("EnvPool", most) in batches:
        told["EnvPool at its best"] = ours / max(rate for (name, _), rate in batches.items() if name == "EnvPool")
    one = {name: median for (name, rows), median in batches.items() if rows == 1}
    if one:
        single = next(figure["median"] for figure in found["physics"] if figure["rows"] == 1)
        told["one environment, MuJoCo make_vec sync"] = one["gym.make"] / single
    return told
