"""Which simulator to train in: the same agent trained in several worlds, each judged on a robot that has secrets."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wm_gym.data.episodes import open_dataset
from wm_gym.errors import WorldModelError
from wm_gym.evaluation.actors import PolicyActor
from wm_gym.evaluation.returns import FIRST_SEED
from wm_gym.evaluation.rollouts import episode_returns, physical_episodes
from wm_gym.evaluation.statistics import (
    Interval,
    clustered_difference_interval,
    clustered_mean_interval,
    clustered_mean_samples,
    percentile_interval,
)
from wm_gym.files import read_json, write_json
from wm_gym.models import load_model
from wm_gym.models.normalization import Normalizer
from wm_gym.physics.alteration import Alteration, Ranges, make_altered
from wm_gym.physics.processes import become_worker
from wm_gym.policies.training import LearnConfig, learn
from wm_gym.types import FloatArray, TaskSpec

WORLDS: Mapping[str, str] = {
    "imagination": "imagination fitted to its logs",
    "nominal": "nominal MuJoCo",
    "randomised": "domain-randomised MuJoCo",
    "identified": "MuJoCo fitted by mujoco.sysid",
    "oracle": "the robot itself",
}
"""Where an agent may be trained, and what that is called."""


@dataclass(frozen=True)
class Training:
    """One agent to train and to try; a process of its own may be told of it."""

    world: str
    seed: int
    folder: Path
    """Where its policy and its ``result.json`` belong."""
    task: TaskSpec
    """With a simulator."""
    secret: Alteration
    """Of the robot on which it is tried."""
    memory: int
    """Commands that it observes beside the state."""
    dataset: Path
    """The logs: they scale what every agent observes, whatever its world."""
    trained_in: Alteration | Ranges | Path
    """How its MuJoCo is altered; or the folder of a world model."""
    algorithm: str
    steps: int
    num_envs: int
    episodes: int
    """On the robot, reset with seeds from ``FIRST_SEED``."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the algorithm, replacing ours."""
    imagination: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of ``WorldModel-v0``, for an agent that is trained in it."""

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.folder.name

    @property
    def finished(self) -> bool:
        """Whether an earlier call has done it."""
        return (self.folder / "result.json").is_file()


def train_and_try(training: Training) -> Path:
    """Train an agent, going on where an earlier call was cut off, and play it on the robot with the secrets.

    Returns:
        Its folder: ``policy/``, and ``result.json`` with what it earned in each episode.
    """
    processor = time.process_time()
    logged = open_dataset(training.dataset)
    normalizer = Normalizer(logged.task.observation_space.size, logged.task.action_space)
    normalizer.fit(list(logged.episodes()))
    world = training.trained_in
    inside = isinstance(world, Path)
    config = LearnConfig(
        training.algorithm,
        "imagination" if inside else "physics",
        training.steps,
        training.num_envs,
        training.seed,
        training.settings,
        training.imagination if inside else {},
    )
    work = Path(f"{training.folder}.partial")
    learnt = learn(
        config,
        logged.task if inside else training.task,
        load_model(world) if isinstance(world, Path) else None,
        work,
        None if isinstance(world, Path) else lambda task: make_altered(task, world, training.memory),
        lambda steps: None,
        normalizer,
    )
    started = time.perf_counter()
    robot = make_altered(training.task, training.secret, training.memory)
    try:
        actor = PolicyActor(learnt.policy, training.task.action_space)
        seeds = range(FIRST_SEED, FIRST_SEED + training.episodes)
        returns = episode_returns(physical_episodes(robot, actor, seeds, training.task.control_dt))
    finally:
        robot.close()
    learnt.policy.save(training.folder / "policy")
    write_json(
        training.folder / "result.json",
        {
            "world": training.world,
            "seed": training.seed,
            "returns": [round(float(value), 4) for value in returns],
            "own_return": learnt.curve[-1]["return"] if learnt.curve else None,
            "steps": learnt.steps,
            "wall_seconds": round(learnt.wall_seconds + time.perf_counter() - started, 1),
            "cpu_seconds": round(time.process_time() - processor, 1),
        },
    )
    shutil.rmtree(work)
    return training.folder


def train_all(trainings: Sequence[Training], workers: int, progress: Callable[[Training], None]) -> None:
    """Train the agents that are not finished, in this process or in several of one thread each.

    Raises:
        WorldModelError: a training failed, or its process died.
    """
    left = []
    for training in trainings:
        if training.finished:
            progress(training)
        else:
            left.append(training)
    if workers <= 1:
        for training in left:
            train_and_try(training)
            progress(training)
        return
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), become_worker)
    under_way = {}
    try:
        under_way = {pool.submit(train_and_try, training): training for training in left}
        for future in as_completed(under_way):
            future.result()
            progress(under_way.pop(future))
    except BrokenProcessPool as error:
        reason = "a training process died (out of memory, or killed); the same command goes on from here"
        raise WorldModelError(reason) from error
    finally:
        # Interrupted, nobody waits for agents that take minutes more: they have checkpoints.
        for worker in set(multiprocessing.active_children()) - others if under_way else ():
            worker.terminate()
        pool.shutdown(cancel_futures=True)


def compare_worlds(trainings: Sequence[Training], seed: int = 0) -> list[dict[str, Any]]:
    """A row for each world of finished agents; intervals resample training seeds, and then the episodes of each.

    Args:
        trainings: all finished.
        seed: of the bootstrap.
    """
    results = [read_json(training.folder / "result.json") for training in trainings]
    returns = {
        world: [np.array(result["returns"], dtype=np.float64) for result in results if result["world"] == world]
        for world in dict.fromkeys(training.world for training in trainings)
    }
    rows = []
    for world, groups in returns.items():
        mine = [result for result in results if result["world"] == world]
        own = [result["own_return"] for result in mine if result["own_return"] is not None]
        row: dict[str, Any] = {
            "world": world,
            "name": WORLDS[world],
            "seeds": len(groups),
            "episodes": len(groups[0]),
            "return": clustered_mean_interval(groups, np.random.default_rng(seed)).to_dict(),
            "seed_returns": [float(group.mean()) for group in groups],
            "own_return": float(np.mean(own)) if own else None,
            "cpu_seconds": float(np.mean([result["cpu_seconds"] for result in mine])),
        }
        for other in ("nominal", "randomised"):
            row[f"minus_{other}"] = None
            if other in returns and other != world:
                found = clustered_difference_interval(returns[other], groups, np.random.default_rng(seed))
                row[f"minus_{other}"] = found.to_dict()
        ends = [returns.get("nominal"), returns.get("oracle")]
        share = None
        if ends[0] is not None and ends[1] is not None and world not in ("nominal", "oracle"):
            share = share_of_gain(groups, ends[0], ends[1], np.random.default_rng(seed))
        rows.append(row | {"share": None if share is None else share.to_dict()})
    return rows


def share_of_oracle(means: Sequence[float], oracle: Sequence[float], generator: np.random.Generator) -> Interval | None:
    """Mean return as a share of what training on the robot itself gives; the interval resamples training seeds alone.

    None unless every seed of both earns more than nothing, as a share of a cost says nothing, and both have two seeds.

    Args:
        means: (N,) mean return of each training seed.
        oracle: the same of agents trained on the robot itself.
        generator: draws the bootstrap samples.
    """
    if min(*means, *oracle) <= 0 or min(len(means), len(oracle)) < 2:
        return None
    mine, best = (clustered_mean_samples([np.array([mean]) for mean in part], generator) for part in (means, oracle))
    return percentile_interval(float(np.mean(means) / np.mean(oracle)), mine / best)


def share_of_gain(
    groups: Sequence[FloatArray],
    nominal: Sequence[FloatArray],
    oracle: Sequence[FloatArray],
    generator: np.random.Generator,
) -> Interval | None:
    """What share of the oracle's gain over the nominal world a world brings: 0 is the nominal one, 1 the oracle.

    None where the oracle's own gain is not clearly above nothing: then the secrets did not matter, and a share of what
    they cost would be noise.

    Args:
        groups: (N,) returns of each training seed.
        nominal: the same of agents from the nominal world.
        oracle: the same of agents trained on the robot itself.
        generator: draws the bootstrap samples; each world's are drawn for themselves.
    """
    mine, low, high = (clustered_mean_samples(part, generator) for part in (groups, nominal, oracle))
    gain = high - low
    if percentile_interval(float(gain.mean()), gain).low <= 0:
        return None
    means = [float(np.mean([np.mean(group) for group in part])) for part in (groups, nominal, oracle)]
    return percentile_interval((means[0] - means[1]) / (means[2] - means[1]), (mine - low) / gain)
