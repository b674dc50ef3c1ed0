"""System identification: the numbers of a MuJoCo model that explain a robot's logs best, by MuJoCo's own toolbox.

Short stretches of the logs are played again from the state in which each began, and ``mujoco.sysid`` moves the factors
on friction, damping and gain until the states come out as logged: nonlinear least squares (Gauss-Newton within bounds,
:mod:`mujoco.minimize`). A delay is a whole number of simulation steps, which no derivative leads to: each is tried.
Whatever MuJoCo's model has no number for, such as play in a drive, cannot be found.
"""

from __future__ import annotations

import copy
import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np
from mujoco import rollout

from wm_gym.errors import ConfigError, DataError
from wm_gym.physics.alteration import Alteration
from wm_gym.physics.tasks import make_physics, physics_of
from wm_gym.types import FloatArray, TaskSpec

FACTORS = ("friction", "damping", "gain")
LOWEST, HIGHEST = 0.2, 4.0
"""Between what a factor is sought."""
_ITERATIONS = 20
_FELT = 1e-9  # relative change of the residual below which a factor has no part in these logs


@dataclass(frozen=True)
class Motion:
    """One logged episode as a model of its joints needs it."""

    states: FloatArray
    """(T+1, nq + nv) float64: qpos beside qvel."""
    commands: FloatArray
    """(T, A)."""


@dataclass(frozen=True)
class Identified:
    """What was found."""

    alteration: Alteration
    sought: tuple[str, ...]
    """Factors that have a part in the logs; the others stay nominal. The delay is always sought."""
    error_before: float
    """Root mean square of what the nominal model predicts wrong, in standard deviations of the logs."""
    error: float
    """The same of the model that was found."""


@dataclass(frozen=True)
class _Stretches:
    """W stretches of L control steps."""

    initial: FloatArray
    """(W, full physics state)."""
    commands: FloatArray
    """(W, lead + L, A); the first ``lead`` were given before the stretch began."""
    measured: FloatArray
    """(W, L, nq + nv)."""


def identify(
    task: TaskSpec,
    motions: Sequence[Motion],
    longest_delay: float = 0.04,
    stretches: int = 64,
    seconds: float = 0.1,
    seed: int = 0,
) -> Identified:
    """Fit friction, damping, gain and delay to logs.

    Args:
        task: with a simulator.
        motions: the logs; those shorter than a stretch and the longest delay are left out.
        longest_delay: seconds up to which delays are tried.
        stretches: how many are drawn from all logs.
        seconds: of each, at least two control steps; longer ones meet more contacts and have more local minima.
        seed: of the draw.

    Raises:
        ConfigError: there is no simulator of the task, or ``mujoco.sysid`` is not installed.
        DataError: no log is long enough, or the states are not those of this robot.
    """
    env = make_physics(task)
    try:
        world: Any = physics_of(env)
        nominal, skip = copy.copy(world.model), int(world.frame_skip)
    finally:
        env.close()
    delays = range(round(longest_delay / nominal.opt.timestep) + 1)
    length = max(2, round(seconds / task.control_dt))
    drawn = _draw(nominal, motions, -(-delays[-1] // skip), stretches, length, np.random.default_rng(seed))
    replay = _Replay(nominal, drawn, skip)
    found = [_fit(replay, steps) for steps in delays]
    best = min(range(len(found)), key=lambda number: found[number][1])
    factors, error = found[best]
    return Identified(
        replace(Alteration(**factors), delay=best * float(nominal.opt.timestep)),
        tuple(factors),
        replay.error(replay.residual([Alteration()], 0)),
        error,
    )


def _draw(
    model: mujoco.MjModel,
    motions: Sequence[Motion],
    lead: int,
    stretches: int,
    length: int,
    generator: np.random.Generator,
) -> _Stretches:
    """Stretches from all logs, each moment as likely as any other."""
    size = model.nq + model.nv
    if any(motion.states.shape[1] != size or motion.commands.shape[1] != model.nu for motion in motions):
        raise DataError(f"the logs' states must be qpos and qvel, {size} numbers, and the commands {model.nu}")
    places = [
        (number, start)
        for number, motion in enumerate(motions)
        for start in range(lead, len(motion.commands) - length + 1)
    ]
    if not places:
        raise DataError(f"no log is longer than {lead + length} steps: nothing can be identified from them")
    chosen = [places[place] for place in generator.choice(len(places), min(stretches, len(places)), replace=False)]
    data = mujoco.MjData(model)
    full = mujoco.mjtState.mjSTATE_FULLPHYSICS
    initial = np.empty((len(chosen), mujoco.mj_stateSize(model, full)))
    for row, (number, start) in enumerate(chosen):
        mujoco.mj_resetData(model, data)
        data.qpos[:], data.qvel[:] = np.split(motions[number].states[start], [model.nq])
        mujoco.mj_getState(model, data, initial[row], full)
    return _Stretches(
        initial,
        np.stack([motions[number].commands[start - lead : start + length] for number, start in chosen]),
        np.stack([motions[number].states[start + 1 : start + length + 1] for number, start in chosen]),
    )


class _Replay:
    """The stretches played again by altered models."""

    def __init__(self, nominal: mujoco.MjModel, stretches: _Stretches, skip: int) -> None:
        self._nominal, self._stretches, self._skip = nominal, stretches, skip
        self._data = mujoco.MjData(nominal)
        spread = stretches.measured.std((0, 1))
        self._moving = spread > 1e-9
        self._spread = spread[self._moving]

    def residual(self, altered: Sequence[Alteration], delay: int) -> FloatArray:
        """(N, K) scaled differences of the K altered models from the logs, with a delay in simulation steps."""
        length = self._stretches.measured.shape[1] * self._skip
        every = np.repeat(self._stretches.commands, self._skip, axis=1)
        first = every.shape[1] - length - delay
        given = every[:, first : first + length]
        models = []
        for alteration in altered:
            model = copy.copy(self._nominal)
            alteration.apply(model)
            models += [model] * len(given)
        initial = np.tile(self._stretches.initial, (len(altered), 1))
        states, _ = rollout.rollout(models, self._data, initial, np.tile(given, (len(altered), 1, 1)))
        size = self._nominal.nq + self._nominal.nv
        reached = states[:, self._skip - 1 :: self._skip, 1 : 1 + size].reshape(len(altered), -1, size)
        wrong = (reached - self._stretches.measured.reshape(-1, size))[..., self._moving] / self._spread
        found: FloatArray = np.nan_to_num(wrong.reshape(len(altered), -1).T, nan=1e3, posinf=1e3, neginf=-1e3)
        return found

    def error(self, residual: FloatArray) -> float:
        """Root mean square."""
        return float(np.sqrt(np.mean(np.square(residual))))


def _fit(replay: _Replay, delay: int) -> tuple[dict[str, float], float]:
    """The best factors under one delay, and the error that is left."""
    toolbox = _toolbox()
    nominal = replay.residual([Alteration()], delay)
    felt = [name for name in FACTORS if _part(replay, name, delay, nominal) > _FELT]

    def residual(values: FloatArray, parameters: Any) -> tuple[list[FloatArray], None, None]:
        columns = np.atleast_2d(values.T)
        altered = [Alteration(**dict(zip(felt, map(float, column), strict=True))) for column in columns]
        wrong = replay.residual(altered, delay)
        return [wrong if values.ndim == 2 else wrong[:, 0]], None, None

    parameters = toolbox.ParameterDict({name: toolbox.Parameter(name, 1.0, LOWEST, HIGHEST) for name in felt})
    # The toolbox prints every iteration unless it is told where to.
    found, _ = toolbox.optimize(
        parameters, residual, "mujoco", verbose=False, max_iters=_ITERATIONS, output=io.StringIO()
    )
    factors = {name: float(found[name].value[0]) for name in felt}
    return factors, replay.error(replay.residual([Alteration(**factors)], delay))


def _part(replay: _Replay, name: str, delay: int, nominal: FloatArray) -> float:
    """How much a tenth more of a factor changes the residual."""
    moved = replay.residual([Alteration(**{name: 1.1})], delay)
    return float(np.abs(moved - nominal).max() / max(float(np.abs(nominal).max()), 1e-12))


def _toolbox() -> Any:
    """``mujoco.sysid``, which imports without its own needs but then holds nothing."""
    try:
        sysid = importlib.import_module("mujoco.sysid")  # typed, unlike the rest of its package
    except ImportError as error:
        raise ConfigError("this MuJoCo has no mujoco.sysid: install mujoco>=4.0") from error
    if not hasattr(sysid, "optimize"):
        raise ConfigError('mujoco.sysid lacks its own needs: pip install "wm_gym[sysid]"')
    return sysid
