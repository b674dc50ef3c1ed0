"""What the three faces share: rows of imagination with their seeds, episodes and automatic resets, in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wm_gym.envs.frames import frame_context
from wm_gym.envs.fused_imagination import imagination_of
from wm_gym.envs.imagination import SAID, RolloutState, Transition
from wm_gym.envs.imagination_config import ImaginationConfig
from wm_gym.envs.spaces import batched_actions, box, observation_box, start_context
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
    uncertainty: Array | None
    uncertainty_bound: Array | None
    trusted: Array
    invalid: Array

    def said(self) -> dict[str, Array]:
        """What ``info`` says of the rows."""
        return {name: value for name in SAID if (value := getattr(self, name)) is not None}

    def info(self, row: int) -> dict[str, Any]:
        """The info dictionary of one row."""
        info = row_info(self.said(), row)
        if self.invalid[row]:
            info["invalid"] = True
        return info


class Rollouts:
    """B imagined rollouts behind a face: settings, the current state, and what an agent may do to it."""

    def __init__(
        self,
        model: str | Path | TrainedModel,
        rows: int,
        device: str,
        settings: Mapping[str, Any],
        max_episode_steps: int | None = None,
    ) -> None:
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
        config = ImaginationConfig(**settings)
        if max_episode_steps not in (None, -1):  # Gymnasium says -1 for "no limit"
            config = config.limited(max_episode_steps)
        self.imagination = imagination_of(trained.to(self.device), config)
        self.task, self.rows = trained.task, int(rows)
        first = self.imagination.begin(torch.zeros(1, dtype=torch.int64, device=self.device)).observation[0]
        self.observation_space = observation_box(self.imagination.obs_type, self.task, first)
        self.action_space = box(self.task.action_space)
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

    def reset(
        self, seeds: Sequence[int | None] | None, options: Mapping[str, Any] | None
    ) -> tuple[Array, dict[str, Array]]:
        """Begin an episode in every row: observations, and what ``info`` says of each.

        Args:
            seeds: one per row; None goes on with the row's next episode (fresh entropy the first time).
            options: ``observation``, ``observations`` with ``actions``, or ``state``.
        """
        options = dict(options or {})
        if unknown := [name for name in options if name not in _OPTIONS]:
            raise ConfigError(f"unknown reset option {unknown[0]!r} (options: {', '.join(_OPTIONS)})")
        if "state" in options:
            self._resume(options["state"], seeds)
        else:
            numbers, episodes, steps = self._counters(seeds)
            if options:
                self.state = self.imagination.begin_at(*self._context(options), numbers, episodes, steps)
            else:
                self.state = self.imagination.begin(numbers, episodes, steps)
        return _numpy(self.current.observation), self._said_of(self.current)

    def step(self, action: Any) -> StepArrays:
        """Advance every row; nothing changes if an action is refused."""
        state = self.current
        actions = batched_actions(action, self.task, self.rows, self.device)
        self.state, transition = self.imagination.step(state, actions)
        return _arrays(transition)

    def restart(self, ended: Array) -> tuple[Array, dict[str, Array]]:
        """Begin the next episode of the n rows numbered ``ended``: their observations, and what ``info`` says of each.

        The state is written in place: nobody else has it.
        """
        state, index = self.current, torch.from_numpy(ended).to(self.device)
        begun = self.imagination.begin(state.seeds[index], state.episodes[index] + 1, state.steps[index])
        state.write_rows(index, begun)
        return _numpy(begun.observation), self._said_of(begun)

    def get_state(self, rows: Sequence[int] | None = None) -> RolloutState:
        """A frozen copy on the CPU of all rows, or of those named."""
        state = self.current if rows is None else self.current.rows(self._index(rows))
        return state.map(lambda value: value.detach().cpu().clone())

    def set_state(self, state: RolloutState, rows: Sequence[int] | None = None) -> None:
        """Go on from a state of :meth:`get_state`; a state of one row is given to every row.

        Raises:
            ObservationError: the value is no such state, or does not fit this model or these rows.
        """
        index = None if rows is None else self._index(rows)
        count = self.rows if index is None else len(index)
        if not isinstance(state, RolloutState):
            raise ObservationError(f"a state of get_state() is needed, not {type(state).__name__}")
        if len(state.seeds) == 1 and count > 1:
            state = state.map(lambda value: value.repeat_interleave(count, 0))
        self._check_fit(state, count)
        moved = self.imagination.adopt(state.map(lambda value: value.to(self.device, copy=True)))
        self.state = moved if index is None else self.current.with_rows(index, moved)

    def _said_of(self, state: RolloutState) -> dict[str, Array]:
        """What ``info`` says of the first observations of episodes."""
        return {name: _numpy(value) for name, value in self.imagination.judge_start(state).items()}

    def _context(self, options: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """The user's own start as embeddings, and the actions between them."""
        model, camera = self.imagination.model, self.imagination.config.camera
        if model.cameras:
            return frame_context(options, model, camera, self.rows, self.device)
        return start_context(options, self.task, self.rows, self.device)

    def _check_fit(self, state: RolloutState, count: int) -> None:
        """Hold a state to the names, shapes and types of this model's own, and to finite numbers."""
        own = self.imagination.begin(torch.zeros(1, dtype=torch.int64, device=self.device)).tensors()
        given = state.tensors()
        if given.keys() != own.keys():
            raise ObservationError(f"the state holds {', '.join(given)}; this model's holds {', '.join(own)}")
        for name, value in given.items():
            shape = (count, *own[name].shape[1:])
            if tuple(value.shape) != shape or value.dtype != own[name].dtype:
                raise ObservationError(f"the state's {name} has shape {tuple(value.shape)}, {shape} is needed")
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise ObservationError(f"the state's {name} holds a value that is not finite")

    def _index(self, rows: Any) -> torch.Tensor:
        """Row numbers (or a boolean mask) as indices."""
        try:
            chosen = np.arange(self.rows)[np.atleast_1d(np.asarray(rows))]
        except IndexError as error:
            raise ConfigError(f"rows={rows!r}: there are environments 0 to {self.rows - 1}") from error
        return torch.from_numpy(chosen).to(self.device)

    def _resume(self, state: RolloutState, seeds: Sequence[int | None] | None) -> None:
        self.set_state(state)
        if seeds is not None:  # the same moment, seen by the same member, with noise of its own
            numbers, episodes, steps = self._counters(seeds, held=self.current)
            self.state = replace(self.current, seeds=numbers, episodes=episodes, steps=steps)

    def _counters(
        self, seeds: Sequence[int | None] | None, held: RolloutState | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Seeds, episodes and steps (B,) of the rows: fresh where a seed is given, else going on from before."""
        if held is not None:
            numbers, episodes, steps = held.seeds, held.episodes, held.steps
        elif self.state is not None:
            numbers, episodes, steps = self.state.seeds, self.state.episodes + 1, self.state.steps
        else:
            first = int(np.random.SeedSequence().generate_state(1)[0])
            numbers = torch.arange(first, first + self.rows, device=self.device)
            episodes, steps = torch.zeros_like(numbers), torch.zeros_like(numbers)
        given = [row for row, seed in enumerate(seeds or ()) if seed is not None]
        if seeds is not None and given:
            index = torch.tensor(given, device=self.device)
            fresh = _seed_numbers([int(seeds[row] or 0) for row in given], self.device)
            zero = torch.zeros_like(fresh)
            numbers, episodes, steps = (
                value.index_copy(0, index, new) for value, new in ((numbers, fresh), (episodes, zero), (steps, zero))
            )
        return numbers, episodes, steps


def row_info(said: Mapping[str, Array], row: int) -> dict[str, Any]:
    """One row of what ``info`` says, as plain numbers and truth values."""
    return {name: values[row].item() for name, values in said.items()}


def row_seeds(seed: int | Sequence[int | None] | None, rows: int) -> Sequence[int | None] | None:
    """Row i of seed s is the single environment of seed s + i."""
    if seed is None or isinstance(seed, int | np.integer):
        return None if seed is None else range(int(seed), int(seed) + rows)
    if len(seed) != rows:
        raise ConfigError(f"{len(seed)} seeds for {rows} environments")
    return list(seed)


def _seed_numbers(seeds: Sequence[int], device: torch.device) -> torch.Tensor:
    """(B,) int64: the lowest 64 bits of each seed. Gymnasium allows any size, and recorders draw all 64 bits."""
    bits = np.array([int(seed) % 2**64 for seed in seeds], dtype=np.uint64)
    return torch.from_numpy(bits.view(np.int64)).to(device)


def _arrays(transition: Transition) -> StepArrays:
    arrays: dict[str, Any] = {}
    for name in (f.name for f in fields(StepArrays)):
        value = getattr(transition, name)
        arrays[name] = None if value is None else _numpy(value)
    return StepArrays(**arrays)


def _numpy(value: torch.Tensor) -> Array:
    """A copy: what is returned is never written again, and what a caller writes into it changes nothing here."""
    return value.detach().cpu().numpy().copy()
