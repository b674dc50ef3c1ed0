"""Five worlds whose verdict is known beforehand: one that is the truth, four that are each wrong in one way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wm_gym.evaluation.actors import Actor
from wm_gym.evaluation.worlds.physics import Disturbance, PhysicsWorld
from wm_gym.evaluation.worlds.world import Followed, Moments, Track, World
from wm_gym.types import Episode, FloatArray, TaskSpec

KICK = 1.0
"""Of the noisy world, in standard deviations of each joint's velocity, at every step: as strong as the motion."""
GAIN = 0.8


@dataclass(frozen=True)
class Control:
    """A world and the gate that it was built to fail; None where it was built to pass them all."""

    world: World
    fails: str | None


class PersistentWorld:
    """Nothing changes, nothing is earned, nothing ends."""

    name = "persistence"

    def __init__(self, control_dt: float) -> None:
        self._control_dt = control_dt

    def follow(self, starts: Moments, actions: FloatArray) -> Followed:
        """See :class:`~wm_gym.evaluation.worlds.world.World`."""
        rows, horizon = np.shape(actions)[:2]
        still = np.repeat(np.asarray(starts.observations, dtype=np.float64)[:, None], horizon, axis=1)
        return Followed(still, np.zeros((rows, horizon)), np.ones((rows, horizon)))

    def play(self, actor: Actor, starts: Moments, limit: int, seed: int, track: Track = iter) -> list[Episode]:
        """See :class:`~wm_gym.evaluation.worlds.world.World`."""
        rows = list(track(range(len(starts))))
        acts = [actor.act(starts.observations, np.array(rows), step) for step in range(limit)]
        actions = np.stack(acts, axis=1).astype(np.float32)
        return [
            Episode(
                observations=np.repeat(starts.observations[row : row + 1], limit + 1, axis=0),
                actions=actions[row],
                rewards=np.zeros(limit, dtype=np.float32),
                terminated=False,
                truncated=True,
                control_dt=self._control_dt,
                seed=row,
            )
            for row in rows
        ]


def control_worlds(task: TaskSpec, reference: Sequence[Episode]) -> list[Control]:
    """The five of them.

    Args:
        task: with a simulator.
        reference: physical episodes with their states, for the size of the noise and the actions to shuffle.
    """
    kick = KICK * np.concatenate([episode.qvel for episode in reference if episode.qvel is not None]).std(axis=0)
    pool = np.concatenate([episode.actions for episode in reference])
    return [
        Control(PhysicsWorld(task, "MuJoCo itself"), None),
        Control(PhysicsWorld(task, "MuJoCo with noise", Disturbance(kick=kick)), "skill"),
        Control(PersistentWorld(task.control_dt), "spearman"),
        Control(PhysicsWorld(task, "shuffled actions", Disturbance(pool=pool)), "sign_agreement"),
        Control(PhysicsWorld(task, f"actions x {GAIN}", Disturbance(gain=GAIN)), "sensitivity"),
    ]
