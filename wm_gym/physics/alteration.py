"""A robot that is not quite its MuJoCo model: other friction, damping and motors, late commands, play in its drives."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

import gymnasium
import mujoco
import numpy as np

from wm_gym.errors import ConfigError
from wm_gym.physics.tasks import PhysicsEnv, make_physics, physics_of
from wm_gym.types import FloatArray, TaskSpec

SCALED: Mapping[str, tuple[str, ...]] = {
    # Most of a small arm's inertia sits in its motors.
    "mass": ("body_mass", "body_inertia", "dof_armature"),
    "friction": ("geom_friction",),
    "damping": ("dof_damping",),
    "gain": ("actuator_gear",),
}
"""What a factor on a property multiplies in MuJoCo's model."""


def scale(model: mujoco.MjModel, name: str, factor: float) -> None:
    """Multiply a property of :data:`SCALED` in place."""
    for part in SCALED[name]:
        getattr(model, part)[:] *= factor


@dataclass(frozen=True)
class Alteration:
    """How a robot differs from its nominal model; without arguments it does not."""

    friction: float = 1.0
    """Factor on the friction of contacts."""
    damping: float = 1.0
    """Factor on the viscous friction of joints."""
    gain: float = 1.0
    """Factor on what motors give."""
    delay: float = 0.0
    """Seconds from a command to the motors; rounded to simulation steps. Until the first arrives they do nothing."""
    dead_zone: float = 0.0
    """Share of a motor's range that play in its drive swallows, at either side of nothing."""

    def __post_init__(self) -> None:
        """Refuse what no robot is."""
        for name, value in asdict(self).items():
            if not (math.isfinite(value) and value >= 0) or (name == "dead_zone" and value >= 1):
                raise ConfigError(f"{name}={value}: a number of at least 0{', below 1' * (name == 'dead_zone')}")

    def apply(self, model: mujoco.MjModel) -> None:
        """Change a nominal model in place, as far as its own numbers can tell of it: neither delay nor dead zone."""
        for name in ("friction", "damping", "gain"):
            scale(model, name, getattr(self, name))

    def delay_steps(self, timestep: float) -> int:
        """The delay in whole simulation steps of ``timestep`` seconds."""
        return round(self.delay / timestep)

    def drive(self, command: FloatArray, reach: FloatArray) -> FloatArray:
        """What reaches the motors of a command (..., A) that may go from ``-reach`` to ``reach`` (A,).

        Nothing within the dead zone, and beyond it the command less its width.
        """
        width = self.dead_zone * reach
        return np.asarray(command - np.clip(command, -width, width))

    def to_dict(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Ranges:
    """Between what an alteration's properties are drawn, uniformly and each for itself."""

    friction: tuple[float, float] = (1.0, 1.0)
    damping: tuple[float, float] = (1.0, 1.0)
    gain: tuple[float, float] = (1.0, 1.0)
    delay: tuple[float, float] = (0.0, 0.0)
    dead_zone: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        """Refuse ranges that end before they begin."""
        for entry in fields(self):
            low, high = getattr(self, entry.name)
            if not low <= high:
                raise ConfigError(f"{entry.name}={[low, high]}: a range goes from its lower end to its upper one")
        Alteration(**{entry.name: getattr(self, entry.name)[0] for entry in fields(self)})
        Alteration(**{entry.name: getattr(self, entry.name)[1] for entry in fields(self)})

    def draw(self, generator: np.random.Generator) -> Alteration:
        """One alteration."""
        return Alteration(
            **{entry.name: float(generator.uniform(*getattr(self, entry.name))) for entry in fields(self)}
        )

    def holds(self, alteration: Alteration) -> list[str]:
        """Names of the properties of which it could draw the given value."""
        ends = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return [name for name, value in alteration.to_dict().items() if ends[name][0] <= value <= ends[name][1]]


Draw = Callable[[np.random.Generator], Alteration]


class AlteredRobot(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A MuJoCo environment with an alteration, which observes beside its state the commands that may be under way.

    With a delay the state alone does not say what comes next; the last commands do, and every robot knows its own.
    """

    def __init__(self, env: PhysicsEnv, draw: Draw, memory: int) -> None:
        """Take an environment over.

        Args:
            env: of MuJoCo, with a symmetric range of actions.
            draw: chooses the alteration at every reset, by a generator that is seeded with it.
            memory: commands that are observed, the newest first; zeros before there were any.
        """
        super().__init__(env)
        self._world = cast(Any, physics_of(env))
        self._draw, self._generator = draw, np.random.default_rng()
        self._reach = np.asarray(self._world.action_space.high, dtype=np.float64)
        self._nominal = {part: getattr(self._world.model, part).copy() for parts in SCALED.values() for part in parts}
        self._simulate: Callable[[FloatArray, int], None] = self._world.do_simulation
        self._world.do_simulation = self._simulate_late
        self._given: deque[FloatArray] = deque(maxlen=memory)
        self._driven: deque[FloatArray] = deque()
        self.alteration = Alteration()
        """The one of this episode."""
        space = env.observation_space
        assert isinstance(space, gymnasium.spaces.Box)
        low, high = (
            np.concatenate([end, *[commanded] * memory])
            for end, commanded in ((space.low, -self._reach), (space.high, self._reach))
        )
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Begin an episode, with an alteration of its own."""
        if seed is not None:
            self._generator = np.random.default_rng((seed, 1))  # not the numbers that choose where the episode begins
        self.alteration = self._draw(self._generator)
        for part, value in self._nominal.items():
            getattr(self._world.model, part)[:] = value
        self.alteration.apply(self._world.model)
        nothing = np.zeros_like(self._reach)
        late = self.alteration.delay_steps(self._world.model.opt.timestep)
        self._driven = deque([nothing] * (late // self._world.frame_skip + 2), late // self._world.frame_skip + 2)
        self._given.extend([nothing] * (self._given.maxlen or 0))
        observation, info = self.env.reset(seed=seed, options=options)
        return self._beside_commands(observation), info

    def step(self, action: FloatArray) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Command the robot; the reward charges the command, whatever the motors make of it."""
        command = np.clip(np.asarray(action, dtype=np.float64), -self._reach, self._reach)
        self._given.appendleft(command)
        observation, reward, terminated, truncated, info = self.env.step(command)
        return self._beside_commands(observation), float(reward), terminated, truncated, info

    def _beside_commands(self, observation: FloatArray) -> FloatArray:
        return np.concatenate([observation, *self._given])

    def _simulate_late(self, command: FloatArray, steps: int) -> None:
        """One control step, in which the motors turn from an older command to a newer one where the delay ends."""
        self._driven.appendleft(self.alteration.drive(np.asarray(command), self._reach))
        whole, rest = divmod(self.alteration.delay_steps(self._world.model.opt.timestep), steps)
        if rest:
            self._world.data.ctrl[:] = self._driven[whole + 1]
            mujoco.mj_step(self._world.model, self._world.data, nstep=rest)
        self._simulate(self._driven[whole], steps - rest)


def make_altered(task: TaskSpec, altered: Alteration | Ranges, memory: int = 0) -> AlteredRobot:
    """A task's robot with an alteration, or with one drawn for each episode.

    Args:
        task: with a simulator.
        altered: always the same, or between what it is drawn.
        memory: commands that are observed beside the state.

    Raises:
        ConfigError: there is no simulator of the task.
    """
    draw: Draw = altered.draw if isinstance(altered, Ranges) else lambda generator: altered
    return AlteredRobot(make_physics(task), draw, memory)
