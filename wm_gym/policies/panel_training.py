"""Train the policies of a panel: runs of their own, in worker processes of one thread, resumable at any moment."""

from __future__ import annotations

import multiprocessing
import queue
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wm_gym.errors import ConfigError, WorldModelError
from wm_gym.files import read_json, write_json
from wm_gym.physics.processes import become_worker
from wm_gym.physics.tasks import make_physics
from wm_gym.policies.panel import PanelPolicy
from wm_gym.policies.policy import Policy, load_policy
from wm_gym.policies.training import LearnConfig, learn
from wm_gym.types import TaskSpec

Judge = Callable[[PanelPolicy], Sequence[float]]
"""Gives a policy's return in each episode of the physics. Called in the worker, so it must survive pickling."""

_PATTERN = ("ppo", "a2c", "sac", "ppo", "a2c", "ppo")
_LENGTHS = {"ppo": (10_000, 200_000), "a2c": (10_000, 200_000), "sac": (10_000, 50_000)}
"""Steps of the shortest and the longest run: SAC learns from fewer, and each costs forty times as much."""
_STEPS_PER_SECOND = {"ppo": 4000.0, "a2c": 4000.0, "sac": 100.0}
"""On Hopper, one thread: for what is announced and for the bar."""


@dataclass(frozen=True)
class Run:
    """One policy to be trained."""

    name: str
    algorithm: str
    steps: int
    seed: int

    @property
    def seconds(self) -> float:
        """That it is likely to take on one core."""
        return self.steps / _STEPS_PER_SECOND[self.algorithm]

    def config(self) -> LearnConfig:
        """Small networks: a whole panel is a few megabytes."""
        if self.algorithm == "sac":
            small = {"policy_kwargs": {"net_arch": [128, 128]}, "buffer_size": self.steps}
            return LearnConfig("sac", "physics", self.steps, num_envs=1, seed=self.seed, settings=small)
        return LearnConfig(self.algorithm, "physics", self.steps, num_envs=8, seed=self.seed, normalize=True)


def plan_runs(policies: int, seed: int = 0, scale: float = 1.0) -> list[Run]:
    """So many runs: half of them PPO, a third A2C, a sixth SAC, each algorithm's lengths spread evenly in ratio.

    Args:
        policies: how many.
        seed: of the panel; each run's own is derived from it.
        scale: of all lengths.

    Raises:
        ConfigError: there would be nothing to train.
    """
    if policies < 1:
        raise ConfigError(f"policies={policies}: at least one is needed")
    if not scale > 0:
        raise ConfigError(f"scale={scale}: a positive number is needed")
    algorithms = [_PATTERN[index % len(_PATTERN)] for index in range(policies)]
    runs: list[Run] = []
    for algorithm, (shortest, longest) in _LENGTHS.items():
        for number, steps in enumerate(np.geomspace(shortest, longest, algorithms.count(algorithm))):
            # Robots side by side take the seeds that follow: a gap, so that no two runs share one.
            own = 1_000_000 * seed + 1000 * (len(runs) + 1)
            runs.append(Run(f"{algorithm}_{number:02d}", algorithm, max(1, round(steps * scale)), own))
    return runs


def train_runs(
    task: TaskSpec,
    runs: Sequence[Run],
    identity: Mapping[str, Any],
    work: Path,
    workers: int,
    judge: Judge,
    progress: Callable[[float, int], None],
) -> list[PanelPolicy]:
    """Train what is not finished yet, the longest first, and try each policy in the physics.

    Args:
        task: with a simulator.
        runs: the plan.
        identity: plain values that, with the plan, say which panel this is.
        work: folder for what is under way and what is finished; another plan's is refused.
        workers: processes of one thread.
        judge: tries a policy; its returns join the details.
        progress: told the seconds' worth of training that is done, and the number of finished policies.

    Raises:
        ConfigError: ``work`` belongs to another plan.
        WorldModelError: a training failed, or its process died.
    """
    _claim(work, {**identity, "runs": [asdict(run) for run in runs]})
    shares = {run.name: float(_is_finished(work, run)) for run in runs}

    def tell(name: str, share: float) -> None:
        shares[name] = share
        done = sum(shares[run.name] * run.seconds for run in runs)
        progress(done, sum(share == 1.0 for share in shares.values()))

    left = sorted((run for run in runs if not shares[run.name]), key=lambda run: -run.seconds)
    for name, share in _train_in_processes(task, left, work, min(workers, len(left)), judge):
        tell(name, share)
    return [_read_finished(work, run) for run in runs]


def _claim(work: Path, plan: dict[str, Any]) -> None:
    path = work / "plan.json"
    if path.exists() and read_json(path) != plan:
        raise ConfigError(f"{work} holds another unfinished panel: finish it with its own settings or delete it")
    write_json(path, plan)


def _train_in_processes(
    task: TaskSpec, left: Sequence[Run], work: Path, workers: int, judge: Judge
) -> Iterator[tuple[str, float]]:
    """Yield (name, share of its work that is done) as it comes; 1 once it is finished."""
    context = multiprocessing.get_context("spawn")
    waiting, told = context.Queue(), context.Queue()
    for run in [*left, *[None] * workers]:
        waiting.put(run)
    arguments = (task, work, judge, waiting, told)
    processes = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(workers)]
    unfinished = {run.name for run in left}
    try:
        for process in processes:
            process.start()
        while unfinished:
            if any(process.exitcode for process in processes):
                raise WorldModelError("a training process died (see above); the same command goes on from here")
            try:
                name, share = told.get(timeout=1.0)
            except queue.Empty:
                continue
            if isinstance(share, WorldModelError):
                raise share
            if share == 1.0:
                unfinished.discard(name)
            yield name, share
        for process in processes:
            process.join()  # there is nothing left for it; cut short, it would leave locks behind
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()  # at an interruption too: a run's checkpoint is at most half a minute old
                process.join()


def _work(task: TaskSpec, work: Path, judge: Judge, waiting: Any, told: Any) -> None:
    """What a worker process does: one run after the other, until there is none."""
    become_worker()
    while (run := waiting.get()) is not None:
        try:
            _train(task, run, work, judge, told)
        except WorldModelError as error:
            told.put((run.name, error))
            return
        told.put((run.name, 1.0))


def _train(task: TaskSpec, run: Run, work: Path, judge: Judge, told: Any) -> None:
    last = time.monotonic()

    def progress(steps: int) -> None:
        nonlocal last
        if time.monotonic() - last > 1.0:
            last = time.monotonic()
            told.put((run.name, min(steps / run.steps, 0.99)))

    learning, finished = work / "learning" / run.name, work / "finished" / run.name
    result = learn(run.config(), task, None, learning, make_physics, progress)
    details = {"algorithm": run.algorithm, "steps": result.steps, "seed": run.seed}
    returns = judge(PanelPolicy(run.name, "trained", result.policy, details))
    result.policy.save(finished)
    write_json(finished / "tried.json", {**details, "returns": [round(float(value), 4) for value in returns]})
    shutil.rmtree(learning)


def _is_finished(work: Path, run: Run) -> bool:
    return (work / "finished" / run.name / "tried.json").exists()


def _read_finished(work: Path, run: Run) -> PanelPolicy:
    folder = work / "finished" / run.name
    policy = load_policy(folder)
    assert isinstance(policy, Policy)
    return PanelPolicy(run.name, "trained", policy, read_json(folder / "tried.json"))
