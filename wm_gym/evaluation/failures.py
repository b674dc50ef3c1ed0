"""A robot that breaks amid an episode: what its policy is shown, what happens, and what would have happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from wm_gym.evaluation.actors import Actor
from wm_gym.physics.tasks import get_physics_state, make_physics, physics_of, set_physics_state
from wm_gym.types import Episode, FloatArray, TaskSpec

Sense = Callable[[FloatArray, FloatArray, int, np.random.Generator], float]
"""What a broken sensor shows: (S,) the truth, (S,) what was shown at the last step, its number, chance -> its value."""
_CHANGED = ("body_mass", "body_inertia", "geom_friction", "actuator_gear", "dof_armature")
"""Parts of a robot's model that a failure may change, and that are mended after the episode."""


@dataclass(frozen=True)
class Failure:
    """One thing that breaks, and from then on stays broken. Without any, the robot is the one that was recorded."""

    name: str
    amount: str = ""
    """In words: ``x 1.5``, ``half a deviation``."""
    sense: Sense | None = None
    """Of one sensor, drawn for each episode among those that ever move."""
    change: Callable[[mujoco.MjModel], None] | None = None
    """Of the robot."""
    push: FloatArray | None = None
    """(nv,) standard deviation of what is added to qvel, once."""


@dataclass(frozen=True)
class Run:
    """One episode with a failure, as the robot's policy met it; it ends where a reading is no number."""

    episode: Episode
    """Its observations are those that were shown."""
    onset: int
    """The first of its observations that the failure had a part in; beyond the last one where nothing broke."""
    errors: FloatArray
    """(T,) nRMSE between what was shown after each step and what the unbroken robot would have shown from the state in
    which the step began: how wrong a perfect model of the unbroken robot would have been."""


def failures(spread: FloatArray, velocity_spread: FloatArray, trunk: str) -> list[Failure]:
    """Broken sensors, a changed robot and a push; no failure at all comes first.

    Args:
        spread: (S,) standard deviations of the observation, for the size of wrong readings.
        velocity_spread: (nv,) of qvel, for the size of the push.
        trunk: name of the body that carries the payload; see :attr:`FailingRobot.trunk`.
    """

    def biased(truth: FloatArray, shown: FloatArray, number: int, chance: np.random.Generator) -> float:
        return float(truth[number] + 0.5 * spread[number])

    def noisy(truth: FloatArray, shown: FloatArray, number: int, chance: np.random.Generator) -> float:
        return float(truth[number] + chance.normal(scale=0.3 * spread[number]))

    return [
        Failure("none"),
        Failure("sensor stuck", "at its last value", sense=lambda truth, shown, number, chance: float(shown[number])),
        Failure("sensor biased", "by half a deviation", sense=biased),
        Failure("sensor noisy", "0.3 of a deviation", sense=noisy),
        Failure("sensor drops out", "0 every other step", sense=_dropping),
        Failure("sensor not a number", "", sense=lambda truth, shown, number, chance: float("nan")),
        *(Failure("payload", f"{trunk} x {factor:g}", change=_payload(trunk, factor)) for factor in (1.25, 2.0)),
        *(Failure("motors weaker", f"x {factor:g}", change=_scaled("actuator_gear", factor)) for factor in (0.9, 0.6)),
        Failure("friction", "x 0.4", change=_scaled("geom_friction", 0.4)),
        Failure("push", "2 deviations", push=2.0 * velocity_spread),
    ]


class FailingRobot:
    """MuJoCo twice: the robot that breaks, and the unbroken one that says what would have been."""

    def __init__(self, task: TaskSpec, spread: FloatArray) -> None:
        """Start the physics.

        Args:
            task: with a simulator.
            spread: (S,) what one unit of error is; 0 where the observation never moves.

        Raises:
            ConfigError: there is no simulator of the task.
        """
        self.task = task
        self._spread, self._moving = spread, np.flatnonzero(spread > 0)
        self._robot, self._nominal = make_physics(task), make_physics(task)
        self._nominal.reset(seed=0)
        self._low = np.nan_to_num(task.action_space.low, neginf=-1.0)
        self._high = np.nan_to_num(task.action_space.high, posinf=1.0)

    def close(self) -> None:
        """Free the physics."""
        self._robot.close()
        self._nominal.close()

    @property
    def trunk(self) -> str:
        """Name of the body that a payload is put on: the torso, or the heaviest body of a robot without one."""
        model = physics_of(self._robot).model
        names = [str(model.body(index).name) for index in range(model.nbody)]
        return "torso" if "torso" in names else names[int(np.argmax(model.body_mass))]

    def play(self, actor: Actor, seed: int, failure: Failure, onset: int, limit: int) -> Run:
        """One episode, until it ends or ``limit`` steps are taken; ``failure`` strikes at observation ``onset``."""
        chance = np.random.default_rng((seed, 1))
        sensor = int(chance.choice(self._moving))
        model = physics_of(self._robot).model
        whole = {name: getattr(model, name).copy() for name in _CHANGED}
        try:
            return self._play(actor, seed, failure, onset, limit, sensor, chance)
        finally:
            for name, value in whole.items():
                getattr(model, name)[:] = value

    def _play(
        self,
        actor: Actor,
        seed: int,
        failure: Failure,
        onset: int,
        limit: int,
        sensor: int,
        chance: np.random.Generator,
    ) -> Run:
        first, _ = self._robot.reset(seed=seed)
        world: Any = physics_of(self._robot)
        shown = [np.asarray(first, dtype=np.float32)]
        actions: list[FloatArray] = []
        rewards: list[float] = []
        errors: list[float] = []
        states = [get_physics_state(self._robot)]
        terminated = False
        while not terminated and len(actions) < limit:
            number = np.array([0])
            action = np.clip(actor.act(shown[-1][None], number, len(actions))[0], self._low, self._high)
            struck = len(actions) + 1 == onset
            if struck and failure.change is not None:
                failure.change(world.model)
            expected = self._unbroken(*states[-1], action)
            truth, reward, terminated, _, _ = world.step(action)
            if struck and failure.push is not None:
                qpos, qvel = get_physics_state(self._robot)
                truth = set_physics_state(self._robot, qpos, qvel + chance.normal(scale=failure.push))
            seen = np.array(truth, dtype=np.float32)
            if len(actions) + 1 >= onset and failure.sense is not None:
                seen[sensor] = failure.sense(np.asarray(truth), shown[-1], sensor, chance)
            errors.append(self._error(seen - expected))
            shown.append(seen)
            actions.append(np.asarray(action, dtype=np.float32))
            rewards.append(float(reward))
            states.append(get_physics_state(self._robot))
            if not np.isfinite(seen).all():
                break  # nobody can act on that
        episode = Episode(
            observations=np.stack(shown),
            actions=np.stack(actions),
            rewards=np.asarray(rewards, dtype=np.float32),
            terminated=bool(terminated),
            truncated=not terminated,
            control_dt=self.task.control_dt,
            qpos=np.stack([qpos for qpos, _ in states]),
            qvel=np.stack([qvel for _, qvel in states]),
            behaviour=failure.name,
            seed=seed,
        )
        return Run(episode, onset, np.array(errors))

    def _unbroken(self, qpos: FloatArray, qvel: FloatArray, action: FloatArray) -> FloatArray:
        set_physics_state(self._nominal, qpos, qvel)
        world: Any = physics_of(self._nominal)
        return np.asarray(world.step(action)[0])

    def _error(self, difference: FloatArray) -> float:
        """NRMSE over the numbers that move, at most 10 (which a reading that is no number scores)."""
        scaled = difference[self._moving] / self._spread[self._moving]
        return float(np.minimum(np.nan_to_num(np.sqrt(np.mean(np.square(scaled))), nan=10.0), 10.0))


def onsets(seeds: Sequence[int], limit: int) -> list[int]:
    """When each episode's failure strikes: in the first half, at least five steps after its beginning."""
    return [int(np.random.default_rng((seed, 2)).integers(5, max(6, limit // 2))) for seed in seeds]


def _dropping(truth: FloatArray, shown: FloatArray, number: int, chance: np.random.Generator) -> float:
    return 0.0 if chance.random() < 0.5 else float(truth[number])


def _payload(body: str, factor: float) -> Callable[[mujoco.MjModel], None]:
    def change(model: mujoco.MjModel) -> None:
        loaded = model.body(body)
        loaded.mass[:] *= factor
        loaded.inertia[:] *= factor

    return change


def _scaled(part: str, factor: float) -> Callable[[mujoco.MjModel], None]:
    def change(model: mujoco.MjModel) -> None:
        getattr(model, part)[:] *= factor

    return change
