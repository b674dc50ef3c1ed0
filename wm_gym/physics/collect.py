"""Record episodes in the physics: how many of which behaviour, by how many processes, always the same data.

An episode depends only on (seed, behaviour, number): not on the episodes before it, nor on which process records it.
Each behaviour has a quota of steps, filled by its episodes 0, 1, 2, ...; the one that reaches the quota is cut there.
"""

from __future__ import annotations

import multiprocessing
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

import numpy as np

from wm_gym.errors import ConfigError, WorldModelError
from wm_gym.physics.behaviours import Behaviour, LoadPolicy, check_behaviours, make_behaviour, policy_of
from wm_gym.physics.camera import Camera, open_cameras
from wm_gym.physics.processes import become_worker
from wm_gym.physics.tasks import PhysicsEnv, get_physics_state, make_physics, physics_of
from wm_gym.types import Episode, FrameArray, TaskSpec

Stage = Callable[[str, Episode], None]
"""Stores an episode under its key. Called in the process that recorded it, so it must survive pickling."""


@dataclass(frozen=True)
class Recipe:
    """What to record of a task. With the task it determines the data."""

    num_steps: int
    seed: int = 0
    behaviours: Mapping[str, float] = field(default_factory=lambda: {"random": 0.5, "smooth": 0.5})
    """Behaviour -> its share of the steps; shares are relative to their sum."""
    policies: Mapping[str, LoadPolicy] = field(default_factory=dict)
    """Name -> gives the policy; each makes the behaviours ``NAME``, ``noisy_NAME`` and ``wandering_NAME``."""

    def quotas(self) -> dict[str, int]:
        """Behaviour -> steps, adding up to ``num_steps``.

        Raises:
            ConfigError: an unknown behaviour, a share that is no share, or no steps.
        """
        check_behaviours(self.behaviours, self.policies)
        shares = {name: float(share) for name, share in self.behaviours.items() if share != 0}
        if not shares or not all(np.isfinite(share) and share > 0 for share in shares.values()):
            raise ConfigError(f"behaviours={dict(self.behaviours)}: shares must be positive, and at least one above 0")
        if self.num_steps < len(shares):
            raise ConfigError(f"num_steps={self.num_steps} is too few for {len(shares)} behaviours")
        edges = np.round(np.cumsum([0.0, *shares.values()]) / sum(shares.values()) * self.num_steps).astype(int)
        return {name: int(steps) for name, steps in zip(shares, np.diff(edges), strict=True) if steps}

    def used_policies(self) -> tuple[str, ...]:
        """Names of the policies that some step is recorded with."""
        followed = {policy_of(behaviour) for behaviour in self.quotas()}
        return tuple(name for name in self.policies if name in followed)


@dataclass(frozen=True)
class Job:
    """One episode to record."""

    behaviour: str
    number: int
    seed: int
    limit: int | None = None
    """Cut after so many steps; None for a whole episode."""

    @property
    def key(self) -> str:
        """Names the episode among those of a recording."""
        return f"{self.behaviour}-{self.number:06d}"


class Recorder:
    """One process's environment, cameras and behaviours, opened once and used for episode after episode."""

    def __init__(
        self,
        task: TaskSpec,
        policies: Mapping[str, LoadPolicy] | None = None,
        make: Callable[[TaskSpec], PhysicsEnv] = make_physics,
    ) -> None:
        """Open what recording needs.

        Args:
            task: what to record, with the cameras to record it with.
            policies: that behaviours may follow.
            make: gives the robot; its observation must be the task's.

        Raises:
            ConfigError: the task cannot be made.
            RenderError: the task has cameras and this machine cannot draw.
        """
        self.task = task
        self._policies = policies or {}
        self._env = make(task)
        self._behaviours: dict[str, Behaviour] = {}
        self._cameras: dict[str, Camera] = open_cameras(physics_of(self._env).model, task.cameras)

    def record(self, job: Job) -> Episode:
        """Play one episode from its reset to its end, its time limit or the job's limit."""
        behaviour = self._behaviour(job.behaviour)
        source = np.random.SeedSequence([job.seed, zlib.crc32(job.behaviour.encode()), job.number])
        env_seed = int(source.generate_state(1)[0] >> 1)  # Gymnasium wants it non-negative; 31 bits fit everywhere
        behaviour.begin(np.random.default_rng(source))
        observation, _ = self._env.reset(seed=env_seed)
        observations, (qpos, qvel) = [observation], ([part] for part in get_physics_state(self._env))
        actions, rewards, terminated, truncated = [], [], False, False
        while not (terminated or truncated):
            action = behaviour.act(observation)
            observation, reward, terminated, truncated, _ = self._env.step(action)
            actions.append(action)
            rewards.append(reward)
            observations.append(observation)
            for track, part in zip((qpos, qvel), get_physics_state(self._env), strict=True):
                track.append(part)
            truncated = truncated or len(actions) == job.limit
        return Episode(
            observations=np.array(observations, dtype=np.float32),
            actions=np.array(actions, dtype=np.float32),
            rewards=np.array(rewards, dtype=np.float32),
            terminated=bool(terminated),
            truncated=bool(truncated),
            control_dt=self.task.control_dt,
            frames={name: self._film(camera, qpos) for name, camera in self._cameras.items()},
            qpos=np.array(qpos),
            qvel=np.array(qvel),
            behaviour=job.behaviour,
            seed=env_seed,
        )

    def _film(self, camera: Camera, qpos: list[np.ndarray]) -> FrameArray:
        """The (T+1, H, W, 3) frames of an episode."""
        return np.stack([camera.draw(position) for position in qpos])

    def _behaviour(self, name: str) -> Behaviour:
        if name not in self._behaviours:
            self._behaviours[name] = make_behaviour(name, self.task.action_space, self._policies)
        return self._behaviours[name]

    def close(self) -> None:
        """Close the environment and the cameras."""
        self._env.close()
        for camera in self._cameras.values():
            camera.close()


class Schedule:
    """Which episode is recorded next, given the lengths of those that are done: the same data whatever the order."""

    def __init__(self, recipe: Recipe, staged: Mapping[str, int]) -> None:
        self._seed = recipe.seed
        self._quotas = recipe.quotas()
        self._lengths = dict(staged)
        self._expected: dict[str, int] = {}
        """Key -> likely length of an episode under way."""

    def next(self) -> Job | None:
        """An episode to start now: perhaps ahead of need, while the lengths of others under way are unknown."""
        for behaviour, quota in self._quotas.items():
            job = self._next_of(behaviour, quota)
            if job is not None:
                typical = self._typical(behaviour)
                self._expected[job.key] = typical if job.limit is None else min(typical, job.limit)
                self._lengths.pop(job.key, None)
                return job
        return None

    def done(self, job: Job, steps: int) -> None:
        """Note the length of an episode that was started."""
        del self._expected[job.key]
        self._lengths[job.key] = steps

    def steps(self) -> int:
        """Steps recorded so far that count."""
        total = 0
        for behaviour, quota in self._quotas.items():
            total += min(quota, sum(n for key, n in self._lengths.items() if key.rpartition("-")[0] == behaviour))
        return total

    def kept(self) -> list[str]:
        """The episodes of the finished recording, in order."""
        keys = []
        for behaviour, quota in self._quotas.items():
            number = 0
            while quota > 0:
                key = Job(behaviour, number, self._seed).key
                keys.append(key)
                quota -= self._lengths[key]
                number += 1
        return keys

    def _next_of(self, behaviour: str, quota: int) -> Job | None:
        steps, number, certain = 0, 0, True
        while steps < quota:
            job = Job(behaviour, number, self._seed, limit=quota - steps if certain else None)
            length = self._lengths.get(job.key)
            if length is None and job.key not in self._expected:
                return job
            if length is None:
                length, certain = self._expected[job.key], False
            elif certain and length > quota - steps:
                return job  # recorded ahead at its full length, it turned out to be the last: once more, cut
            steps += length
            number += 1
        return None

    def _typical(self, behaviour: str) -> int:
        lengths = [steps for key, steps in self._lengths.items() if key.rpartition("-")[0] == behaviour]
        return round(sum(lengths) / len(lengths)) if lengths else 1


def record_episodes(
    task: TaskSpec,
    recipe: Recipe,
    stage: Stage,
    discard: Callable[[str], None],
    staged: Mapping[str, int],
    workers: int = 1,
    progress: Callable[[int], None] = lambda steps: None,
) -> list[str]:
    """Record what the recipe still lacks.

    Args:
        task: what to record, with the cameras to record it with.
        recipe: how much of what.
        stage: stores an episode under its key.
        discard: forgets a staged episode.
        staged: key -> steps of the episodes that an earlier run stored.
        workers: processes; 1 records in this one.
        progress: told the number of recorded steps after every episode.

    Returns:
        The keys of the dataset's episodes, in order.
    """
    schedule = Schedule(recipe, staged)
    progress(schedule.steps())
    if workers <= 1:
        recorded = _record_here(schedule, Recorder(task, recipe.policies), stage, discard)
    else:
        recorded = _record_in_processes(schedule, task, stage, discard, workers, recipe.policies)
    for job, steps in recorded:
        schedule.done(job, steps)
        progress(schedule.steps())
    return schedule.kept()


def _record_here(
    schedule: Schedule, recorder: Recorder, stage: Stage, discard: Callable[[str], None]
) -> Iterator[tuple[Job, int]]:
    try:
        while (job := schedule.next()) is not None:
            discard(job.key)
            episode = recorder.record(job)
            stage(job.key, episode)
            yield job, len(episode)
    finally:
        recorder.close()


def _record_in_processes(
    schedule: Schedule,
    task: TaskSpec,
    stage: Stage,
    discard: Callable[[str], None],
    workers: int,
    policies: Mapping[str, LoadPolicy],
) -> Iterator[tuple[Job, int]]:
    context = multiprocessing.get_context("spawn")  # a forked process cannot use its parent's OpenGL or torch threads
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, _start_worker, (task, stage, policies))
    under_way: dict[Future[int], Job] = {}
    try:
        while True:
            while len(under_way) < workers and (job := schedule.next()) is not None:
                discard(job.key)
                under_way[pool.submit(_work, job)] = job
            if not under_way:
                return
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                yield under_way.pop(future), future.result()
    except BrokenProcessPool as error:
        reason = "a recording process died (out of memory, or killed); the same command goes on from here"
        raise WorldModelError(reason) from error
    finally:
        # Interrupted, nobody waits for an episode that takes seconds more: it is recorded anew when this goes on.
        for worker in set(multiprocessing.active_children()) - others if under_way else ():
            worker.terminate()
        pool.shutdown(cancel_futures=True)


_worker: tuple[Recorder, Stage] | None = None
"""What a worker process keeps between episodes."""


def _start_worker(task: TaskSpec, stage: Stage, policies: Mapping[str, LoadPolicy]) -> None:
    global _worker
    become_worker()
    _worker = (Recorder(task, policies), stage)


def _work(job: Job) -> int:
    assert _worker is not None
    recorder, stage = _worker
    episode = recorder.record(job)
    stage(job.key, episode)
    return len(episode)
