"""Imagining what cameras would see beside drawing it: a camera model and MuJoCo with its fastest renderer."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial

import gymnasium as gym

from wm_gym.errors import ConfigError, RenderError
from wm_gym.evaluation.throughput import Plain, Progress, Runner, time_in_turn, vector_runner
from wm_gym.models import TrainedModel
from wm_gym.physics.camera import why_no_camera
from wm_gym.physics.pixels import make_pixels
from wm_gym.types import TaskSpec


def pixels_runner(task: TaskSpec, rows: int) -> Runner:
    """MuJoCo seen through the task's cameras: one environment in this process, or a process for each."""
    makers = [partial(make_pixels, task)] * rows
    mode = gym.vector.AutoresetMode.SAME_STEP
    envs: gym.vector.VectorEnv
    if rows == 1:
        envs = gym.vector.SyncVectorEnv(makers, autoreset_mode=mode)
    else:  # a forked process would inherit a drawing context that works in its parent alone
        envs = gym.vector.AsyncVectorEnv(makers, autoreset_mode=mode, context="spawn")
    envs.action_space.seed(0)
    envs.reset(seed=0)
    actions = envs.action_space.sample()
    return Runner("MuJoCo and its camera", rows, lambda: envs.step(actions), envs.close)


def check_camera(trained: TrainedModel) -> None:
    """Say what is missing before anything is timed.

    Raises:
        ConfigError: the model sees no camera, or its robot has no simulator.
        RenderError: this machine cannot draw.
    """
    if "latent" not in trained.model.obs_types:
        raise ConfigError(f"a model of family {trained.model.family!r} sees no camera")
    if trained.task.env_id is None:
        raise ConfigError(f"{trained.task.name} has no simulator to be compared with")
    if reason := why_no_camera():
        raise RenderError(reason)


def measure_camera(trained: TrainedModel, rows: int, blocks: int, seconds: float, tell: Progress) -> Plain:
    """Steps a second of latent and of decoded imagination at ``rows`` rows, and of MuJoCo at what serves it best.

    Args:
        trained: see :func:`check_camera`.
        rows: imagined side by side.
        blocks: of each timing.
        seconds: of a block.
        tell: is told what has just been timed.
    """
    cores = os.cpu_count() or 1
    # MuJoCo draws as fast as it can, be its edges in steps: the model's own camera may have smoothed them.
    cameras = tuple(replace(camera, samples=1) for camera in trained.task.cameras)
    fastest = replace(trained.task, cameras=cameras)
    makers: list[Callable[[], Runner]] = [
        partial(vector_runner, trained, rows, "latent", obs_type="latent"),
        partial(vector_runner, trained, rows, "image", obs_type="image"),
        partial(vector_runner, trained, 1, "image, one environment", obs_type="image"),
        *(partial(pixels_runner, fastest, number) for number in sorted({1, cores, 2 * cores})),
    ]
    latent, image, alone, *drawn = time_in_turn(makers, blocks, seconds, tell)
    best = max(figure["median"] for figure in drawn)
    return {
        "robot": trained.task.name,
        "sha256": trained.manifest.get("files", {}).get("model.safetensors"),
        "cameras": [asdict(camera) for camera in cameras],
        "figures": [latent, image, alone, *drawn],
        "ratios": {"latent": latent["median"] / best, "image": image["median"] / best},
    }
