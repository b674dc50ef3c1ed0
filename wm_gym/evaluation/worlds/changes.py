"""A "real" robot as MuJoCo with one thing changed: what the nominal model did not know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np

from wm_gym.evaluation.worlds.physics import Disturbance
from wm_gym.types import FloatArray


@dataclass(frozen=True)
class Change:
    """One axis, moved by one amount."""

    axis: str
    amount: str
    """In words: ``x 1.5``, ``2 steps``."""
    disturbance: Disturbance


def changes(observation_spread: FloatArray) -> list[Change]:
    """Two strengths of each axis.

    Args:
        observation_spread: (S,) standard deviations, for the size of the sensors' noise.
    """
    scaled = {"mass": _mass, "friction": _friction, "damping": _damping, "gravity": _gravity, "actuator gain": _gain}
    factors = {
        "mass": (1.25, 1.5),
        "friction": (0.7, 0.4),
        "damping": (1.5, 2.5),
        "gravity": (1.1, 1.25),
        "actuator gain": (0.85, 0.7),
    }
    found = [
        Change(axis, f"x {factor:g}", Disturbance(change=scale(factor)))
        for axis, scale in scaled.items()
        for factor in factors[axis]
    ]
    for share in (0.02, 0.1):
        noise = share * np.asarray(observation_spread)
        found.append(Change("sensor noise", f"{share:.0%} of the spread", Disturbance(sensor_noise=noise)))
    return found + [Change("action delay", f"{n} step{'s' * (n > 1)}", Disturbance(delay=n)) for n in (1, 3)]


def _mass(factor: float) -> Callable[[mujoco.MjModel], None]:
    def change(model: mujoco.MjModel) -> None:
        model.body_mass[:] *= factor
        model.body_inertia[:] *= factor
        model.dof_armature[:] *= factor  # most of a small arm's inertia sits in its motors

    return change


def _friction(factor: float) -> Callable[[mujoco.MjModel], None]:
    def change(model: mujoco.MjModel) -> None:
        model.geom_friction[:] *= factor

    return change


def _damping(factor: float) -> Callable[[mujoco.MjModel], None]:
    def change(model: mujoco.MjModel) -> None:
        model.dof_damping[:] *= factor

    return change


def _gravity(factor: float) -> Callable[[mujoco.MjModel], None]:
    def change(model: mujoco.MjModel) -> None:
        model.opt.gravity[:] *= factor

    return change


def _gain(factor: float) -> Callable[[mujoco.MjModel], None]:
    def change(model: mujoco.MjModel) -> None:
        model.actuator_gear[:] *= factor

    return change
