"""MuJoCo behind the face of a judged world: the truth, and with a disturbance, something that is not quite it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from wm_gym.evaluation.actors import Actor
from wm_gym.evaluation.worlds.world import Followed, Moments, Track
from wm_gym.physics.tasks import get_physics_state, make_physics, physics_of, set_physics_state
from wm_gym.types import BoolArray, Episode, FloatArray, TaskSpec


@dataclass(frozen=True)
class Disturbance:
    """How a MuJoCo differs from the nominal one. Nothing is drawn where nothing asks for chance."""

    change: Callable[[mujoco.MjModel], None] | None = None
    """Changes the robot's model before anything runs."""
    gain: float = 1.0
    """Factor on every action."""
    pool: FloatArray | None = None
    """(P, A): every action is replaced by one of these, drawn at random."""
    kick: FloatArray | None = None
    """(nv,) standard deviation of what is added to qvel after every step."""
    sensor_noise: FloatArray | None = None
    """(S,) standard deviation of what is added to what an actor observes."""
    delay: int = 0
    """Steps after which an action takes effect; until then the first one is applied."""

    @property
    def random(self) -> bool:
        """Whether chance has a part."""
        return any(part is not None for part in (self.pool, self.kick, self.sensor_noise))


class PhysicsWorld:
    """See :class:`~wm_gym.evaluation.worlds.world.World`. Rows run one after the other."""

    def __init__(self, task: TaskSpec, name: str = "MuJoCo", disturbance: Disturbance | None = None) -> None:
        """Start the physics.

        Raises:
            ConfigError: there is no simulator of the task.
        """
        self.name, self.task = name, task
        self._with = disturbance or Disturbance()
        self._env = make_physics(task)
        self._env.reset(seed=0)
        self._world: Any = physics_of(self._env)
        if self._with.change is not None:
            self._with.change(self._world.model)
        self._low = np.nan_to_num(task.action_space.low, neginf=-1.0)
        self._high = np.nan_to_num(task.action_space.high, posinf=1.0)

    def close(self) -> None:
        """Free the physics."""
        self._env.close()

    @property
    def model(self) -> mujoco.MjModel:
        """The robot, disturbed as it may be."""
        return self._world.model

    def resets(self, seeds: Sequence[int]) -> Moments:
        """Where episodes begin that are reset with these seeds."""
        found = []
        for seed in seeds:
            observation, _ = self._env.reset(seed=int(seed))
            found.append((np.asarray(observation, dtype=np.float32), *get_physics_state(self._env)))
        return Moments(*(np.stack(column) for column in zip(*found, strict=True)))

    def follow(self, starts: Moments, actions: FloatArray) -> Followed:
        """Exact, but for the disturbance. After an episode's end the last observation stays."""
        rows, horizon = np.shape(actions)[:2]
        observations = np.empty((rows, horizon, starts.observations.shape[1]))
        rewards, continuation = np.zeros((rows, horizon)), np.ones((rows, horizon))
        for row in range(rows):
            generator = self._begin(starts, row, 0)
            line: deque[FloatArray] = deque()
            for step in range(horizon):
                observation, reward, terminated = self._step(actions[row, step], line, generator)
                observations[row, step], rewards[row, step] = observation, reward
                if terminated:
                    observations[row, step:], continuation[row, step:] = observation, 0.0
                    break
        return Followed(observations, rewards, continuation)

    def advance(
        self, moments: Moments, actions: FloatArray, running: BoolArray
    ) -> tuple[FloatArray, BoolArray, Moments]:
        """One step from each of N moments, without the disturbance's chance.

        Args:
            moments: where.
            actions: (N, A).
            running: (N,) rows that are still running; the others stay where they are.

        Returns:
            Rewards (N,), whether each episode ended (N,), and the next moments.
        """
        rewards, ended = np.zeros(len(moments)), np.zeros(len(moments), dtype=bool)
        observations, qpos, qvel = moments.observations.copy(), moments.qpos.copy(), moments.qvel.copy()
        for row in np.flatnonzero(running):
            set_physics_state(self._env, moments.qpos[row], moments.qvel[row])
            observation, rewards[row], ended[row], _, _ = self._world.step(actions[row])
            observations[row] = observation
            qpos[row], qvel[row] = get_physics_state(self._env)
        return rewards, ended, Moments(observations, qpos, qvel)

    def play(self, actor: Actor, starts: Moments, limit: int, seed: int, track: Track = iter) -> list[Episode]:
        """One episode after the other; the seed is that of the disturbance."""
        return [self._play(actor, starts, row, limit, seed) for row in track(range(len(starts)))]

    def _play(self, actor: Actor, starts: Moments, row: int, limit: int, seed: int) -> Episode:
        generator = self._begin(starts, row, seed)
        noise = self._with.sensor_noise
        observation = np.asarray(starts.observations[row], dtype=np.float32)
        observations, states = [observation], [get_physics_state(self._env)]
        actions: list[FloatArray] = []
        rewards: list[float] = []
        line: deque[FloatArray] = deque()
        number, terminated = np.array([row]), False
        while not terminated and len(actions) < limit:
            seen = observation if noise is None else observation + generator.normal(scale=noise).astype(np.float32)
            action = np.clip(actor.act(seen[None], number, len(actions))[0], self._low, self._high)
            observed, reward, terminated = self._step(action, line, generator)
            observation = np.asarray(observed, dtype=np.float32)
            observations.append(observation)
            states.append(get_physics_state(self._env))
            actions.append(action)
            rewards.append(reward)
        return Episode(
            observations=np.stack(observations),
            actions=np.asarray(actions, dtype=np.float32),
            rewards=np.asarray(rewards, dtype=np.float32),
            terminated=terminated,
            truncated=not terminated,
            control_dt=self.task.control_dt,
            qpos=np.stack([qpos for qpos, _ in states]),
            qvel=np.stack([qvel for _, qvel in states]),
            seed=row,
        )

    def _begin(self, starts: Moments, row: int, seed: int) -> np.random.Generator:
        set_physics_state(self._env, starts.qpos[row], starts.qvel[row])
        # Each row draws for itself: it does not matter which others run.
        return np.random.default_rng((seed, row) if self._with.random else 0)

    def _step(
        self, action: FloatArray, line: deque[FloatArray], generator: np.random.Generator
    ) -> tuple[FloatArray, float, bool]:
        given, disturbed = np.asarray(action, dtype=np.float32), self._with
        if disturbed.pool is not None:
            given = np.asarray(disturbed.pool[generator.integers(len(disturbed.pool))], dtype=np.float32)
        if disturbed.delay:
            line.append(given)
            given = line.popleft() if len(line) > disturbed.delay else line[0]
        if disturbed.gain != 1.0:
            given = given * np.float32(disturbed.gain)
        observation, reward, terminated, _, _ = self._world.step(given)
        if disturbed.kick is not None:
            qpos, qvel = get_physics_state(self._env)
            observation = set_physics_state(self._env, qpos, qvel + generator.normal(scale=disturbed.kick))
        return np.asarray(observation), float(reward), bool(terminated)
