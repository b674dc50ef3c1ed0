"""Running an actor in the physics and in the imagination: both give the same kind of episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from wm_gym.evaluation.actors import Actor
from wm_gym.types import Episode, FloatArray

StateReader = Callable[[Any], tuple[FloatArray, FloatArray]]


def physical_episodes(
    env: gym.Env[Any, Any],
    actor: Actor,
    seeds: Iterable[int],
    control_dt: float,
    behaviour: str = "",
    read_state: StateReader | None = None,
) -> list[Episode]:
    """One episode of the physics engine for each seed, from its own reset to its end.

    Args:
        env: with a time limit of its own.
        actor: acts; episodes are numbered in the order of ``seeds``.
        seeds: what the environment is reset with.
        control_dt: seconds between two actions.
        behaviour: a word kept with the episodes.
        read_state: reads (qpos, qvel) after every step, where exact states will be needed again.
    """
    return [
        _physical_episode(env, actor, number, seed, control_dt, behaviour, read_state)
        for number, seed in enumerate(seeds)
    ]


def _physical_episode(
    env: gym.Env[Any, Any],
    actor: Actor,
    number: int,
    seed: int,
    control_dt: float,
    behaviour: str,
    read_state: StateReader | None,
) -> Episode:
    observation, _ = env.reset(seed=seed)
    observations = [observation]
    actions: list[FloatArray] = []
    rewards: list[float] = []
    states = [read_state(env)] if read_state else []
    index, terminated, truncated = np.array([number]), False, False
    while not (terminated or truncated):
        action = actor.act(np.asarray(observation, dtype=np.float32)[None], index, len(actions))[0]
        observation, reward, terminated, truncated, _ = env.step(action)
        observations.append(observation)
        actions.append(action)
        rewards.append(float(reward))
        if read_state:
            states.append(read_state(env))
    return Episode(
        observations=np.asarray(observations, dtype=np.float32),
        actions=np.asarray(actions, dtype=np.float32),
        rewards=np.asarray(rewards, dtype=np.float32),
        terminated=bool(terminated),
        truncated=bool(truncated),
        control_dt=control_dt,
        qpos=np.stack([qpos for qpos, _ in states]) if states else None,
        qvel=np.stack([qvel for _, qvel in states]) if states else None,
        behaviour=behaviour,
        seed=seed,
    )


def imagined_episodes(
    envs: gym.vector.VectorEnv[Any, Any, Any],
    actor: Actor,
    starts: FloatArray,
    seed: int,
    control_dt: float,
    behaviour: str = "",
) -> list[Episode]:
    """One imagined episode from each start, all side by side, each until it first ends.

    Args:
        envs: as many environments as starts, resetting in the same step (the final observation is in the info).
        actor: acts; episodes are numbered as the starts are.
        starts: (N, S) raw observations to start at.
        seed: of the imagination's own noise.
        control_dt: seconds between two actions.
        behaviour: a word kept with the episodes.
    """
    count = len(starts)
    first, _ = envs.reset(seed=seed, options={"observation": starts})
    seen = [np.array(first, dtype=np.float32)]
    acts: list[FloatArray] = []
    gains: list[FloatArray] = []
    length = np.zeros(count, dtype=np.int64)
    ended, cut = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    numbers = np.arange(count)
    while not (length > 0).all():
        action = actor.act(seen[-1], numbers, len(acts))
        observation, reward, terminated, truncated, info = envs.step(action)
        shown = np.array(observation, dtype=np.float32)
        done = np.asarray(terminated) | np.asarray(truncated)
        for row in np.flatnonzero(done):
            shown[row] = np.asarray(info["final_obs"][row], dtype=np.float32)
        acts.append(np.array(action, dtype=np.float32))
        gains.append(np.array(reward, dtype=np.float32))
        newly = done & (length == 0)
        length[newly], ended[newly], cut[newly] = len(acts), terminated[newly], truncated[newly]
        seen.append(shown)
    observations, actions, rewards = np.stack(seen, axis=1), np.stack(acts, axis=1), np.stack(gains, axis=1)
    return [
        Episode(
            observations=observations[row, : length[row] + 1],
            actions=actions[row, : length[row]],
            rewards=rewards[row, : length[row]],
            terminated=bool(ended[row]),
            truncated=bool(cut[row]),
            control_dt=control_dt,
            behaviour=behaviour,
            seed=seed + int(row),
        )
        for row in range(count)
    ]


def episode_returns(episodes: Sequence[Episode]) -> FloatArray:
    """(N,) undiscounted sum of rewards of each episode."""
    return np.array([float(np.sum(episode.rewards, dtype=np.float64)) for episode in episodes])


def first_observations(episodes: Sequence[Episode]) -> FloatArray:
    """(N, S) where each episode starts."""
    return np.stack([episode.observations[0] for episode in episodes])
