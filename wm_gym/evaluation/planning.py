"""Acting in MuJoCo on plans that are made in some world, anew at every step (model-predictive control)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from wm_gym.evaluation.worlds import Moments, PhysicsWorld, World
from wm_gym.evaluation.worlds.world import Track
from wm_gym.policies.planner import Planner, PlannerConfig, Score
from wm_gym.types import Episode, FloatArray, TaskSpec

REACHED = 0.05
"""m between fingertip and target, as in the DeepMind control suite's reacher-easy."""
SUCCESS: Mapping[str, Callable[[FloatArray], bool]] = {
    "Reacher-v5": lambda observation: bool(np.hypot(observation[8], observation[9]) <= REACHED)
}
"""Gymnasium id -> whether an episode that ends in an observation has succeeded, where a task says what success is."""


def succeeded(task: TaskSpec, episode: Episode) -> bool | None:
    """Whether an episode reached its goal; None where the task has none."""
    reached = SUCCESS.get(task.env_id or "")
    return None if reached is None else reached(episode.observations[-1])


def plan_episodes(
    world: World,
    physics: PhysicsWorld,
    starts: Moments,
    steps: int,
    config: PlannerConfig,
    generator: np.random.Generator,
    track: Track = iter,
) -> list[Episode]:
    """One episode in MuJoCo from each start, all planned side by side.

    Args:
        world: plans are made in it, from the true observation or state at every step.
        physics: acts.
        starts: N moments.
        steps: of an episode, unless it ends earlier.
        config: of the planner.
        generator: draws the candidates.
        track: shows progress through the steps.
    """
    planner = Planner(physics.task.action_space, config, generator)
    plan = planner.first_guess(len(starts))
    here, running = starts, np.ones(len(starts), dtype=bool)
    seen: list[Any] = [here.observations]
    acts: list[Any] = []
    gains: list[Any] = []
    lengths, ended = np.full(len(starts), steps), np.zeros(len(starts), dtype=bool)
    for step in track(range(steps)):
        plan = planner.plan(_score(world, here), plan)
        actions = plan[:, 0].astype(np.float32)
        reward, terminated, here = physics.advance(here, actions, running)
        plan = planner.advance(plan)
        for told, value in ((seen, here.observations), (acts, actions), (gains, reward)):
            told.append(value)
        lengths[running & terminated], ended[running & terminated] = step + 1, True
        running &= ~terminated
        if not running.any():
            break
    return [
        Episode(
            observations=np.stack([shown[row] for shown in seen[: lengths[row] + 1]]),
            actions=np.stack([action[row] for action in acts[: lengths[row]]]),
            rewards=np.array([gain[row] for gain in gains[: lengths[row]]], dtype=np.float32),
            terminated=bool(ended[row]),
            truncated=not ended[row],
            control_dt=physics.task.control_dt,
            behaviour=f"plans in {world.name}",
            seed=row,
        )
        for row in range(len(starts))
    ]


def _score(world: World, here: Moments) -> Score:
    """The returns of candidates from N moments, in one batch."""

    def score(candidates: FloatArray) -> FloatArray:
        situations, count = candidates.shape[:2]
        flat = candidates.reshape(situations * count, *candidates.shape[2:])
        return world.follow(here.repeat(count), flat).returns().reshape(situations, count)

    return score
