"""MuJoCo on the same cores, by each way of running it that there is: the rivals of an imagined world."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from mujoco import rollout
from mujoco.batch import Batch

from wm_gym.evaluation.throughput import Runner
from wm_gym.physics.tasks import make_physics, physics_of
from wm_gym.types import TaskSpec

ROLLOUT_STEPS = 20
"""Control steps of one call of ``mujoco.rollout``: without a policy between the steps it is at its fastest."""


def vector_runner(task: TaskSpec, rows: int, mode: str) -> Runner:
    """``gym.make_vec`` of the MuJoCo environment itself, ``sync`` or ``async`` (a process for each row)."""
    envs = gym.make_vec(
        str(task.env_id),
        num_envs=rows,
        vectorization_mode=mode,
        vector_kwargs={"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP},
        **dict(task.env_kwargs),
    )
    envs.action_space.seed(0)
    envs.reset(seed=0)
    actions = envs.action_space.sample()
    return Runner(f"MuJoCo, make_vec {mode}", rows, lambda: envs.step(actions), envs.close)


def rollout_runner(task: TaskSpec, rows: int, threads: int) -> Runner:
    """``mujoco.rollout`` on so many threads: states alone, without observations, rewards or resets."""
    model, skip, state, controls = _start(task, rows)
    pool = rollout.Rollout(nthread=threads)
    data = [mujoco.MjData(model) for _ in range(threads)]
    steps = ROLLOUT_STEPS * skip
    controls = np.repeat(controls[:, None], steps, axis=1)
    states = np.zeros((rows, steps, state.shape[1]))
    sensors = np.zeros((rows, steps, model.nsensordata))

    def advance() -> None:
        pool.rollout(model, data, state, controls, state=states, sensordata=sensors)

    return Runner("mujoco.rollout", rows, advance, pool.close, ROLLOUT_STEPS)


def batch_runner(task: TaskSpec, rows: int, threads: int) -> Runner:
    """``mujoco.batch`` on so many threads, a call a control step, as a policy between them would have it."""
    model, skip, state, controls = _start(task, rows)
    batch = Batch(model, nsim=rows, nthread=threads)
    qpos, qvel, ctrl = batch.bind("qpos"), batch.bind("qvel"), batch.bind("ctrl")
    qpos[:], qvel[:] = state[:, 1 : 1 + model.nq], state[:, 1 + model.nq : 1 + model.nq + model.nv]
    ctrl[:] = controls
    first, count = (qpos.copy(), qvel.copy()), 0

    def advance() -> None:
        nonlocal count
        for _ in range(skip):
            batch.step()
        count += 1
        if count % 1000 == 0:  # a robot that has fallen for long is no fair rival
            qpos[:], qvel[:] = first

    return Runner("mujoco.batch", rows, advance)


def in_envpool(task: TaskSpec) -> bool:
    """Whether EnvPool is installed and has this very environment."""
    try:
        pool = importlib.import_module("envpool")
    except ImportError:
        return False
    return not task.env_kwargs and task.env_id in pool.list_all_envs()


def envpool_runner(task: TaskSpec, rows: int, threads: int) -> Runner:
    """EnvPool on so many threads: environments in C++, with observations, rewards and resets."""
    pool = importlib.import_module("envpool")
    envs = pool.make(task.env_id, env_type="gymnasium", num_envs=rows, num_threads=threads, seed=0)
    envs.reset()
    space = envs.action_space
    actions = np.random.default_rng(0).uniform(space.low, space.high, (rows, *space.shape))
    return Runner("EnvPool", rows, lambda: envs.step(actions), envs.close)


def physics_makers(task: TaskSpec, rows: int, threads: int) -> list[Callable[[], Runner]]:
    """What runs ``rows`` of the task's robots at once on ``threads`` threads."""
    makers = [lambda: rollout_runner(task, rows, threads), lambda: batch_runner(task, rows, threads)]
    return [*makers, lambda: envpool_runner(task, rows, threads)] if in_envpool(task) else makers


def _start(task: TaskSpec, rows: int) -> tuple[Any, int, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The robot's model, its frame skip, first states (rows, n) of the environment's own resets, and controls."""
    env = make_physics(task)
    physics = physics_of(env)
    model, skip = physics.model, int(physics.frame_skip)
    kind = mujoco.mjtState.mjSTATE_FULLPHYSICS
    states = np.zeros((min(rows, 64), mujoco.mj_stateSize(model, kind)))
    for index, state in enumerate(states):
        env.reset(seed=index)
        mujoco.mj_getState(model, physics.data, state, kind)
    env.close()
    low, high = model.actuator_ctrlrange.T
    controls = np.random.default_rng(0).uniform(low, high, (rows, model.nu))
    return model, skip, np.tile(states, (math.ceil(rows / len(states)), 1))[:rows], controls
