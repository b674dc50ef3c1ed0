"""What the three faces share: rows of imagination with their seeds, episodes and automatic resets, in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wm_gym.envs.imagination import Imagination, ImaginationConfig, RolloutState, Transition
from wm_gym.envs.spaces import batched_actions, box, start_context
from wm_gym.errors import ConfigError, KeywordError, ObservationError
from wm_gym.models import TrainedModel, load_model
from wm_gym.models.device import usable_device

Array = np.ndarray[Any, np.dtype[Any]]
_OPTIONS = ("observation", "observations", "actions", "state")


@dataclass(frozen=True)
class StepArrays:
    """One step of B rows as numpy arrays of their own: never written again."""

    observation: Array
    reward: Array
    terminated: Array
    truncated: Array
    uncertainty: Array
    trusted: Array
    invalid: Array

    def info(self, row: int) -> dict[str, Any]:
        """The info dictionary of one row."""
        info: dict[str, Any] = {"uncertainty": float(self.uncertainty[row]), "trusted": bool(self.trusted[row])}
        if self.invalid[row]:
            info["invalid"] = True
        return info


class Rollouts:
    """B imagined rollouts behind a face: settings, the current state, and what an agent may do to it."""

    def __init__(self, model: str | Path | TrainedModel, rows: int, device: str, settings: Mapping[str, Any]) -> None:
        if not isinstance(rows, int | np.integer) or rows < 1:
            raise ConfigError(f"num_envs={rows!r}: a positive number of environments is needed")
        known = tuple(f.name for f in fields(ImaginationConfig))
        for name in settings:
            if name not in known:
                # The words of Python's own TypeError: by them TorchRL sees that a keyword of its own is not taken.
                raise KeywordError(
                    f"unexpected keyword argument {name!r} (WorldModel-v0 takes model, device, {', '.join(known)})"
                )
        self.device = usable_device(device)
        trained = model if isinstance(model, TrainedModel) else load_model(model)
        self.imagination = Imagination(trained.to(self.device), ImaginationConfig(**settings))
        self.task, self.rows = trained.task, int(rows)
        self.observation_space, self.action_space = box(self.task.observation_space), box(self.task.action_space)
        self.state: RolloutState | None = None

    @property
    def current(self) -> RolloutState:
        """The state; reset must have been called."""
        if self.state is None:
            raise ConfigError("call reset() before the first step")
        return self.state

    @property
    def frames_per_second(self) -> int:
        """Of a film in real time."""
        return max(1, round(1 / self.task.control_dt))

    def reset(self, seeds: Sequence[int] | None, options: Mapping[str, Any] | None) -> tuple[Array, Array]:
        """Begin an episode in every row: observations and whether each is trusted.

        Args:
            seeds: one per row; None goes on with the rows' next episodes (fresh entropy the first time).
            options: ``observation``, ``observations`` with ``actions``, or ``state``.
        """
        options = dict(options or {})
        if unknown := [name for name in options if name not in _OPTIONS]:
            raise ConfigError(f"unknown reset option {unknown[0]!r} (options: {', '.join(_OPTIONS)})")
        if "state" in options:
            self._resume(options["state"], seeds)
        else:
            numbers, episodes, steps = self._counters(seeds)
            if "observation" in options or "observations" in options:
                context = start_context(options, self.task, self.rows, self.device)
                self.state = self.imagination.begin_at(*context, numbers, episodes, steps)
            else:
                self.state = self.imagination.begin(numbers, episodes, steps)
        return _numpy(self.current.observation), _numpy(self.imagination.trust_start(self.current))

    def step(self, action: Any) -> StepArrays:
        """Advance every row; nothing changes if an action is refused."""
        state = self.current
        actions = batched_actions(action, self.task, self.rows, self.device)
        self.state, transition = self.imagination.step(state, actions)
        return _arrays(transition)

    def restart(self, done: Array) -> Array:
        """Begin the next episode of the rows where ``done`` (B,), and show the observations of all rows."""
        state = self.current
        index = torch.from_numpy(np.flatnonzero(done)).to(self.device)
        ended = state.rows(index)
        self.state = state.with_rows(index, self.imagination.begin(ended.seeds, ended.episodes + 1, ended.steps))
        return _numpy(self.current.observation)

    def get_state(self, rows: Sequence[int] | None = None) -> RolloutState:
        """A frozen copy on the CPU of all rows, or of those named."""
        state = self.current if rows is None else self.current.rows(torch.as_tensor(rows, device=self.device))
        return state.map(lambda value: value.detach().cpu().clone())

    def set_state(self, state: RolloutState, rows: Sequence[int] | None = None) -> None:
        """Go on from a state of :meth:`get_state`; a state of one row is given to every row.

        Raises:
            ObservationError: the value is no such state, or does not fit this model or these rows.
        """
        count = self.rows if rows is None else len(rows)
        if not isinstance(state, RolloutState):
            raise ObservationError(f"a state of get_state() is needed, not {type(state).__name__}")
        if len(state.seeds) == 1 and count > 1:
            state = state.map(lambda value: value.repeat_interleave(count, 0))
        shape = (count, self.task.observation_space.size)
        if tuple(state.observation.shape) != shape:
            raise ObservationError(f"the state holds observations {tuple(state.observation.shape)}, {shape} are needed")
        moved = state.map(lambda value: value.to(self.device, copy=True))
        if rows is None:
            self.state = moved
        else:
            self.state = self.current.with_rows(torch.as_tensor(rows, device=self.device), moved)

    def _resume(self, state: RolloutState, seeds: Sequence[int] | None) -> None:
        self.set_state(state)
        if seeds is not None:  # the same moment with noise of its own
            numbers = _seed_numbers(seeds, self.device)
            held = self.current
            zero = torch.zeros_like(numbers)
            self.state = RolloutState(held.latent, held.observation, numbers, zero, zero, held.elapsed)

    def _counters(self, seeds: Sequence[int] | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if seeds is None and self.state is not None:
            return self.state.seeds, self.state.episodes + 1, self.state.steps
        if seeds is None:
            first = int(np.random.SeedSequence().generate_state(1)[0])
            seeds = range(first, first + self.rows)
        numbers = _seed_numbers(seeds, self.device)
        return numbers, torch.zeros_like(numbers), torch.zeros_like(numbers)


def row_seeds(seed: int | Sequence[int | None] | None, rows: int) -> Sequence[int] | None:
    """Row i of seed s is the single environment of seed s + i."""
    if seed is None or isinstance(seed, int | np.integer):
        return None if seed is None else range(int(seed), int(seed) + rows)
    if len(seed) != rows:
        raise ConfigError(f"{len(seed)} seeds for {rows} environments")
    if any(s is None for s in seed):
        return None
    return [int(s) for s in seed if s is not None]


def _seed_numbers(seeds: Sequence[int], device: torch.device) -> torch.Tensor:
    """(B,) int64: the lowest 64 bits of each seed. Gymnasium allows any size, and recorders draw all 64 bits."""
    bits = np.array([int(seed) % 2**64 for seed in seeds], dtype=np.uint64)
    return torch.from_numpy(bits.view(np.int64)).to(device)


def _arrays(transition: Transition) -> StepArrays:
    values = {f.name: _numpy(getattr(transition, f.name)) for f in fields(StepArrays)}
    return StepArrays(**values)


def _numpy(value: torch.Tensor) -> Array:
    return value.detach().cpu().numpy()
