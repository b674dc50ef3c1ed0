"""Record episodes of a robot in MuJoCo, with its cameras, as a LeRobotDataset folder.

python datasets/collect_episodes.py task=reacher num_steps=20000 output=outputs/reacher/data
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from wm_gym.config import REQUIRED, run_program
from wm_gym.data.episodes import Dataset, open_dataset
from wm_gym.data.writer import DatasetWriter
from wm_gym.errors import ConfigError
from wm_gym.files import write_json
from wm_gym.physics.camera import why_no_camera
from wm_gym.physics.collect import Job, Recipe, Recorder, record_episodes
from wm_gym.physics.tasks import task_spec
from wm_gym.policies.policy import load_policy
from wm_gym.types import LARGEST_FRAME, CameraSpec, TaskSpec


@dataclass
class CameraConfig:
    """A camera; a pose that is left out is the robot's standard one."""

    width: int = 64
    height: int = 64
    fixed: str | None = None
    lookat: list[float] | None = None
    distance: float | None = None
    azimuth: float | None = None
    elevation: float | None = None
    track_body: str | None = None
    samples: int | None = None


@dataclass
class SizeConfig:
    """One size for all cameras."""

    width: int | None = field(default=None, metadata={"help": "pixels, of every camera; null: the recipe's"})
    height: int | None = field(default=None, metadata={"help": "likewise"})


@dataclass
class TaskConfig:
    """A recipe of ``conf/task``: the robot, and what is worth recording of it."""

    name: str | None = field(default=None, metadata={"help": "a robot of wm_gym.physics.tasks"})
    env_id: str | None = field(default=None, metadata={"help": "another registered Gymnasium MuJoCo id"})
    env_kwargs: dict[str, Any] = field(default_factory=dict, metadata={"help": "passed to the environment"})
    max_episode_steps: int | None = field(default=None, metadata={"help": "null: the environment's own"})
    num_steps: int = 20000
    behaviours: dict[str, float] = field(default_factory=dict)
    policies: dict[str, str] = field(default_factory=dict, metadata={"help": "folders, relative to this program's"})
    cameras: dict[str, CameraConfig] = field(default_factory=dict)


@dataclass
class CollectConfig:
    """Settings of a recording."""

    output: str = field(default=REQUIRED, metadata={"help": "dataset folder to write"})
    task: TaskConfig = field(default_factory=TaskConfig)
    num_steps: int | None = field(default=None, metadata={"help": "steps to record; null: the recipe's"})
    seed: int = field(default=0, metadata={"help": "of everything"})
    workers: int = field(default=0, metadata={"help": "processes; 0: one per core; the data do not depend on it"})
    behaviours: dict[str, float] = field(
        default_factory=dict,
        metadata={
            "help": "behaviours.NAME=SHARE of random, smooth, a policy's NAME, noisy_, wandering_NAME; {}: the recipe's"
        },
    )
    policies: dict[str, str] = field(
        default_factory=dict,
        metadata={"help": "policies.NAME=FOLDER, or with trust=true a .zip of SB3; added to the recipe's"},
    )
    trust: bool = field(default=False, metadata={"help": "the .zip is ours: loading one runs code that lies in it"})
    cameras: list[str] | None = field(default=None, metadata={"help": "which to record; [] for none; null for all"})
    camera: SizeConfig = field(default_factory=SizeConfig)
    licence: str = field(default="CC0-1.0", metadata={"help": "of the recorded data"})


def collect(config: CollectConfig) -> None:
    """Record episodes of a robot in MuJoCo, with its cameras, as a LeRobotDataset folder."""
    places = _policy_places(config)
    recipe = _recipe(config, places)
    task = _task(config)
    workers = config.workers if config.workers > 0 else min(os.cpu_count() or 1, 8)
    pace = _pace(task, recipe)  # before anything is written: it also finds what cannot work
    policies = {name: _digest(places[name]) for name in recipe.used_policies()}
    writer = DatasetWriter(
        config.output,
        task,
        {"seed": recipe.seed, "num_steps": recipe.num_steps, "steps": recipe.quotas(), "policies": policies},
        config.licence,
        {name: importlib.metadata.version(name) for name in ("mujoco", "gymnasium")},
        shlex.join(["python", *sys.argv]),
    )
    if writer.finished:
        print(f"{config.output} is already complete: nothing to record")
        _conclude(open_dataset(config.output), task)
        return
    staged = writer.staged()
    _announce(task, recipe, workers, sum(staged.values()), pace)
    with tqdm(total=recipe.num_steps, unit="step", desc=task.name, mininterval=0.5) as bar:

        def progress(steps: int) -> None:
            bar.update(steps - bar.n)

        keys = record_episodes(task, recipe, writer.stage, writer.discard, staged, workers, progress)
    print("joining the episodes", flush=True)
    _conclude(writer.finish(keys), task)


def _task(config: CollectConfig) -> TaskSpec:
    """The task with the cameras that are asked for and that this machine can draw."""
    asked = config.task
    if asked.name is None and asked.env_id is None:
        raise ConfigError("task=custom needs task.env_id=..., a MuJoCo id that Gymnasium knows")
    if asked.max_episode_steps is not None and asked.max_episode_steps < 1:
        raise ConfigError(f"task.max_episode_steps={asked.max_episode_steps}: an episode has at least one step")
    task = task_spec(asked.name, asked.env_id, asked.env_kwargs, asked.max_episode_steps)
    standard = {camera.name: camera for camera in task.cameras}
    if task.name == asked.env_id and asked.name is not None:  # another robot than the recipe's: not its poses
        asked.cameras = {name: CameraConfig() for name in standard}
    unknown = sorted(set(config.cameras or ()) - set(asked.cameras))
    if unknown:
        raise ConfigError(f"camera {unknown[0]!r} does not exist (one of {', '.join(asked.cameras) or 'none'})")
    cameras = []
    for name, pose in asked.cameras.items():
        if config.cameras is None or name in config.cameras:
            given = {key: value for key, value in vars(pose).items() if value is not None}
            given |= {key: value for key, value in vars(config.camera).items() if value is not None}
            if "lookat" in given:
                given["lookat"] = tuple(given["lookat"])
            cameras.append(replace(standard.get(name, CameraSpec(name)), **given))
    for camera in cameras:
        if not (2 <= camera.width <= LARGEST_FRAME and 2 <= camera.height <= LARGEST_FRAME):
            raise ConfigError(f"camera {camera.name!r}: {camera.width} x {camera.height} pixels is no size for a frame")
        if fault := camera.samples_fault():
            raise ConfigError(fault)
    if cameras and (reason := why_no_camera()):
        print(f"warning: recording without camera: {reason}", file=sys.stderr)
        cameras = []
    return replace(task, cameras=tuple(cameras))


def _policy_places(config: CollectConfig) -> dict[str, Path]:
    """Where each policy lies: the recipe's beside this program, the user's from the current folder."""
    own = {name: Path(__file__).parent / folder for name, folder in config.task.policies.items()}
    return own | {name: Path(folder) for name, folder in config.policies.items()}


def _recipe(config: CollectConfig, places: Mapping[str, Path]) -> Recipe:
    """The recipe, its policies tried, so that a bad one is met before anything is recorded."""
    recipe = Recipe(
        config.task.num_steps if config.num_steps is None else config.num_steps,
        config.seed,
        config.behaviours or config.task.behaviours,
        {name: partial(load_policy, place, config.trust) for name, place in places.items()},
    )
    used = recipe.used_policies()
    for name, folder in config.policies.items():
        if name not in used:
            raise ConfigError(f"policies.{name}={folder} is not used: give it a share, such as behaviours.{name}=1")
    for name in used:
        recipe.policies[name]()
    return recipe


def _digest(policy: Path) -> str:
    """Names a policy by what it holds, wherever it lies."""
    files = sorted(policy.rglob("policy.*")) if policy.is_dir() else [policy]
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def _pace(task: TaskSpec, recipe: Recipe) -> float:
    """Seconds that one process needs for a step, camera included, by a short trial."""
    recorder = Recorder(task, recipe.policies)
    trial = [Job(behaviour, 0, recipe.seed, limit=20) for behaviour in recipe.quotas()]
    recorder.record(trial[0])  # the first frames are slow
    start = time.perf_counter()
    steps = sum(len(recorder.record(job)) for job in trial)
    elapsed = time.perf_counter() - start
    recorder.close()
    return 1.5 * elapsed / steps  # storing the episodes takes the other third


def _announce(task: TaskSpec, recipe: Recipe, workers: int, staged: int, pace: float) -> None:
    """Say what will be done and how long it will take."""
    planned = ", ".join(f"{steps} steps {name}" for name, steps in recipe.quotas().items())
    seen = ", ".join(f"{camera.name} {camera.width}x{camera.height}" for camera in task.cameras) or "none"
    minutes = max(0, recipe.num_steps - staged) * pace / workers / 60
    duration = "less than a minute" if minutes < 1 else f"about {minutes:.0f} min"
    resumed = f"; {staged} steps were recorded already" if staged else ""
    print(f"{task.name} ({task.env_id}): {task.observation_space.size} observations, {task.action_space.size} actions")
    print(f"{planned}; cameras: {seen}")
    print(f"{workers} {'process' if workers == 1 else 'processes'}, {duration}{resumed}", flush=True)


def _conclude(dataset: Dataset, task: TaskSpec) -> None:
    """Print the table, and leave it as result.json."""
    returns: dict[str, list[float]] = {}
    steps: dict[str, list[int]] = {}
    for episode in dataset.episodes():
        steps.setdefault(episode.behaviour, []).append(len(episode))
        whole = episode.terminated or len(episode) >= task.max_episode_steps
        returns.setdefault(episode.behaviour, []).extend([float(episode.rewards.sum())] if whole else [])
    rows: dict[str, dict[str, Any]] = {}
    width = max(map(len, [*steps, "behaviour"])) + 2
    print(f"\n{'behaviour':<{width}}{'episodes':>9}{'steps':>9}   return of whole episodes (mean +- sd)")
    for name, lengths in steps.items():
        mean, sd = (float(np.mean(returns[name])), float(np.std(returns[name]))) if returns[name] else (None, None)
        rows[name] = {"episodes": len(lengths), "steps": sum(lengths), "return_mean": mean, "return_sd": sd}
        shown = "none ended" if mean is None else f"{mean:.2f} +- {sd:.2f}"
        print(f"{name:<{width}}{len(lengths):>9}{sum(lengths):>9}   {shown}")
    result = {
        "task": task.name,
        "episodes": len(dataset),
        "steps": dataset.num_steps,
        "cameras": [camera.name for camera in task.cameras],
        "behaviours": rows,
        "digest": dataset.digest(),
    }
    write_json(dataset.folder / "result.json", result)
    print(f"\nwritten: {dataset.folder}")


if __name__ == "__main__":
    run_program(collect, CollectConfig, Path(__file__).parent / "conf")
