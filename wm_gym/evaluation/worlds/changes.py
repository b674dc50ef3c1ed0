"""A "real" robot as MuJoCo with one thing changed: what the nominal model did not know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import mujoco
import numpy as np

from wm_gym.evaluation.worlds.physics import Disturbance
from wm_gym.physics.alteration import scale
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
    scaled: dict[str, Callable[[float], Callable[[mujoco.MjModel], None]]] = {
        **{name: partial(_scaled, name) for name in ("mass", "friction", "damping")},
        "gravity": _gravity,
        "actuator gain": partial(_scaled, "gain"),
    }
    factors = {
        "mass": (1.25, 1.5),
        "friction": (0.7, 0.4),
        "damping": (1.5, 2.5),
        "gravity": (1.1, 1.25),
        "actuator gain": (0.85, 0.7),
    }
    found = [
        Change(axis, f"x {factor:g}", Disturbance(change=change(factor)))
        for axis, change in scaled.items()
        for factor in factors[axis]
    ]
    for share in (0.02, 0.1):
        noise = share * np.asarray(observation_spread)
        found.append(Change("sensor noise", f"{share:.0%} of the spread", Disturbance(sensor_noise=noise)))
    return found + [Change("action delay", f"{n} step{'s' * (n > 1)}", Disturbance(delay=n)) for n in (1, 3)]


def _scaled(name: str, factor: float) -> Callable[[mujoco.MjModel], None]:
    return lambda model: scale(model, name, factor)


def _gravity(factor: float) -> Callable[[mujoco.MjModel], None]:
    def change(model: mujoco.MjModel) -> None:
        model.opt.gravity[:] *= factor

    return change
