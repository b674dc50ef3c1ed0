"""What acts while episodes are recorded: from uniform noise to a trained policy that is pushed off its path."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from wm_gym.errors import ConfigError, ModelError
from wm_gym.types import BoxSpec, FloatArray

Noise = np.ndarray[Any, np.dtype[np.float64]]


class Policy(Protocol):
    """What stable-baselines3's policies and the exported ones have in common."""

    def predict(self, observation: FloatArray, *, deterministic: bool = True) -> tuple[FloatArray, Any]:
        """Action (A,) for an observation (S,), and a recurrent state that is not used."""
        ...


class Behaviour(ABC):
    """Chooses the actions of one episode after another. All its chance comes from the generator of the episode.

    Args:
        space: of the actions; a dimension without bounds is explored in [-1, 1].
    """

    def __init__(self, space: BoxSpec) -> None:
        low, high = np.nan_to_num(space.low, neginf=-1.0), np.nan_to_num(space.high, posinf=1.0)
        self._centre, self._reach = (high + low) / 2, (high - low) / 2
        self._generator = np.random.default_rng(0)

    def begin(self, generator: np.random.Generator) -> None:
        """Start an episode."""
        self._generator = generator

    @abstractmethod
    def act(self, observation: FloatArray) -> FloatArray:
        """The next action (A,) float32, within bounds, for an observation (S,)."""

    def _scaled(self, unit: FloatArray) -> FloatArray:
        """[-1, 1] -> the action's own range."""
        return np.asarray(self._centre + self._reach * np.clip(unit, -1.0, 1.0), dtype=np.float32)

    def _uniform(self) -> FloatArray:
        return self._generator.uniform(-1.0, 1.0, size=len(self._reach))


class RandomBehaviour(Behaviour):
    """Every action is drawn anew, uniformly."""

    def act(self, observation: FloatArray) -> FloatArray:
        """See :class:`Behaviour`."""
        return self._scaled(self._uniform())


def _draw_memory(generator: np.random.Generator, least: float, most: float) -> float:
    """What a step keeps of an Ornstein-Uhlenbeck process that forgets within ``least`` to ``most`` steps."""
    return float(np.exp(-1.0 / np.exp(generator.uniform(np.log(least), np.log(most)))))


def _next_of(noise: Noise, memory: float, generator: np.random.Generator) -> Noise:
    """The next value (A,) of an Ornstein-Uhlenbeck process of unit variance."""
    fresh: Noise = np.sqrt(1.0 - memory**2) * generator.normal(size=len(noise))
    return memory * noise + fresh


class SmoothBehaviour(Behaviour):
    """Noise with a memory (Ornstein-Uhlenbeck), so that the robot travels instead of trembling.

    Amplitude, memory and a constant push differ between episodes: slow and fast, weak and strong motion is seen.
    """

    def begin(self, generator: np.random.Generator) -> None:
        """Draw this episode's character and where the noise stands at its start."""
        super().begin(generator)
        self._amplitude = generator.uniform(0.1, 1.2)
        self._memory = _draw_memory(generator, 2.0, 30.0)
        self._push = generator.normal(0.0, 0.2, size=len(self._reach)) * (generator.random() < 0.5)
        self._noise = generator.normal(size=len(self._reach))

    def act(self, observation: FloatArray) -> FloatArray:
        """See :class:`Behaviour`."""
        action = self._scaled(self._push + self._amplitude * self._noise)
        self._noise = _next_of(self._noise, self._memory, self._generator)
        return action


class PolicyBehaviour(Behaviour):
    """The given policy's best action."""

    def __init__(self, space: BoxSpec, policy: Policy, name: str = "policy") -> None:
        super().__init__(space)
        self._name = name
        self._low, self._high = np.asarray(space.low, np.float32), np.asarray(space.high, np.float32)
        self._policy = policy

    def act(self, observation: FloatArray) -> FloatArray:
        """See :class:`Behaviour`."""
        try:
            action, _ = self._policy.predict(np.asarray(observation, np.float32), deterministic=True)
            return np.clip(np.asarray(action, np.float32).reshape(self._low.shape), self._low, self._high)
        except ValueError as error:
            raise ModelError(f"policy {self._name!r} does not fit this task: {str(error).splitlines()[0]}") from error


class NoisyPolicyBehaviour(PolicyBehaviour):
    """The policy with noise of a strength drawn per episode, thrown off by short stretches of random actions."""

    def begin(self, generator: np.random.Generator) -> None:
        """Draw this episode's noise."""
        super().begin(generator)
        self._strength = generator.uniform(0.05, 0.5)
        self._random_steps = 0

    def act(self, observation: FloatArray) -> FloatArray:
        """See :class:`Behaviour`."""
        if self._random_steps == 0 and self._generator.random() < 0.02:
            self._random_steps = int(self._generator.integers(3, 15))
        if self._random_steps:
            self._random_steps -= 1
            return self._scaled(self._uniform())
        noise = self._strength * self._reach * self._generator.normal(size=len(self._reach))
        return np.clip(super().act(observation) + noise.astype(np.float32), self._low, self._high)


class WanderingPolicyBehaviour(PolicyBehaviour):
    """The policy with a slow push (Ornstein-Uhlenbeck): it does its task where it would not go by itself.

    Strength, memory and a constant push differ between episodes, weak ones among them: what is to be seen is the task
    done all over the robot's range, not its failure.
    """

    def begin(self, generator: np.random.Generator) -> None:
        """Draw this episode's push."""
        super().begin(generator)
        size = len(self._reach)
        self._strength = generator.uniform(0.0, 0.2)
        self._memory = _draw_memory(generator, 20.0, 200.0)
        self._constant = generator.normal(0.0, 0.2, size=size) * (generator.random() < 0.5)
        self._push = generator.normal(size=size)

    def act(self, observation: FloatArray) -> FloatArray:
        """See :class:`Behaviour`."""
        push = self._reach * (self._constant + self._strength * self._push)
        self._push = _next_of(self._push, self._memory, self._generator)
        return np.clip(super().act(observation) + push.astype(np.float32), self._low, self._high)


LoadPolicy = Callable[[], Policy]
"""Gives a policy. Called in every process that records, so it must survive pickling."""

_WITHOUT_POLICY: dict[str, type[Behaviour]] = {"random": RandomBehaviour, "smooth": SmoothBehaviour}
_OF_POLICY: dict[str, type[PolicyBehaviour]] = {
    "": PolicyBehaviour,
    "noisy_": NoisyPolicyBehaviour,
    "wandering_": WanderingPolicyBehaviour,
}
"""By what stands before the policy's name."""


def list_behaviours(policies: Iterable[str] = ()) -> tuple[str, ...]:
    """Names that :func:`make_behaviour` knows: ``random``, ``smooth``, and those of each policy.

    A policy NAME makes the behaviours ``NAME``, ``noisy_NAME`` and ``wandering_NAME``.

    Raises:
        ConfigError: a policy has a name that is none, or that is taken.
    """
    names = list(_WITHOUT_POLICY)
    for name in policies:
        if not name.isidentifier() or name in _WITHOUT_POLICY or policy_of(name) != name:
            taken = f"{', '.join(_WITHOUT_POLICY)}, {'... and '.join(filter(None, _OF_POLICY))}... are taken"
            raise ConfigError(f"policies.{name}: a policy's name has letters, digits and '_', and {taken}")
        names += [prefix + name for prefix in _OF_POLICY]
    return tuple(names)


def check_behaviours(names: Iterable[str], policies: Iterable[str]) -> None:
    """Raise ``ConfigError`` on a behaviour that does not exist with these policies."""
    known = list_behaviours(policies)
    for name in names:
        if name not in known:
            added = ", ".join(f"{prefix}NAME" for prefix in _OF_POLICY)
            choice = f"one of {', '.join(known)}; policies.NAME=FOLDER adds {added}"
            raise ConfigError(f"behaviour {name!r} does not exist ({choice})")


def policy_of(behaviour: str) -> str | None:
    """Name of the policy that a behaviour follows; None for one that needs none."""
    if behaviour in _WITHOUT_POLICY:
        return None
    prefix = next((prefix for prefix in _OF_POLICY if prefix and behaviour.startswith(prefix)), "")
    return behaviour.removeprefix(prefix)


def make_behaviour(name: str, space: BoxSpec, policies: Mapping[str, LoadPolicy] | None = None) -> Behaviour:
    """A behaviour by its name.

    Args:
        name: one of :func:`list_behaviours`.
        space: of the actions.
        policies: name -> gives the policy.

    Raises:
        ConfigError: there is no such behaviour.
    """
    check_behaviours([name], policies or ())
    if (policy := policy_of(name)) is None or policies is None:
        return _WITHOUT_POLICY[name](space)
    return _OF_POLICY[name.removesuffix(policy)](space, policies[policy](), policy)
