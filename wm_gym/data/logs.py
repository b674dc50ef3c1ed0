"""Logs of a robot as somebody else wrote them: CSV files and a map of their columns, to episodes.

A row is one moment: the state there, the action that was commanded there, and the reward of that action. So the last
row of an episode only says where the robot came to; ``terminated`` in it says that the task had ended there.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from wm_gym.data import clock
from wm_gym.data.clock import Clock
from wm_gym.data.unit_vectors import find_unit_vectors, restored
from wm_gym.data.units import UNITS, speed_faults, turn_faults, unit_named
from wm_gym.errors import ConfigError, DataError
from wm_gym.types import BoxSpec, Episode, FloatArray, ObservationMap, TaskSpec


@dataclass
class ColumnMap:
    """Which column is what. State and action map the name of a column to its unit; ``"1"`` is a plain number."""

    state: dict[str, str] = field(default_factory=dict)
    action: dict[str, str] = field(default_factory=dict)
    name: str = "robot"
    control_dt: float | None = None
    """Seconds between two samples; None: the median of the time stamps."""
    time: str | None = None
    """Column of time stamps; None: the samples are taken to be ``control_dt`` apart."""
    time_unit: str = "s"
    episode: str | None = None
    """Column that changes where an episode begins; None: each file is one episode."""
    reward: str | None = None
    terminated: str | None = None
    limits: dict[str, Any] = field(default_factory=dict)
    """Action -> [lowest, highest], in the column's own unit; those that are left out are taken from the logs."""
    unbounded: list[str] = field(default_factory=list)
    """Angles that turn without a limit."""
    max_episode_steps: int | None = None
    """None: the longest episode's."""

    def check(self) -> None:
        """Raise ``ConfigError`` on a map that says too little, or names what does not exist."""
        if not self.state or not self.action:
            raise ConfigError("the map needs state: and action:, each COLUMN: UNIT (a plain number's unit is 1)")
        for name, unit in (self.state | self.action).items():
            unit_named(unit, name)
        if UNITS.get(self.time_unit, UNITS["1"]).quantity != "time":
            raise ConfigError(f"time_unit: {self.time_unit!r}: s, ms, us or ns")
        if self.time is None and self.control_dt is None:
            raise ConfigError("the map needs time: COLUMN, or control_dt: SECONDS where nothing was stamped")
        if self.control_dt is not None and not 1e-6 <= self.control_dt <= 1e6:
            raise ConfigError(f"control_dt: {self.control_dt} is no number of seconds")
        for name in (*self.limits, *self.unbounded):
            if name not in (self.action if name in self.limits else self.state):
                raise ConfigError(
                    f"{name!r} under limits or unbounded is no {'action' if name in self.limits else 'state'}"
                )
        for name, ends in self.limits.items():
            numbers = isinstance(ends, list) and len(ends) == 2 and all(isinstance(end, int | float) for end in ends)
            if not numbers or not ends[0] < ends[1]:
                raise ConfigError(f"limits: {name}: {ends} must be [lowest, highest]")

    @property
    def columns(self) -> list[str]:
        """Every column that is named."""
        single = [name for name in (self.time, self.episode, self.reward, self.terminated) if name is not None]
        return [*self.state, *self.action, *single]


@dataclass(frozen=True)
class Log:
    """One stretch of a recording, T rows, in SI units."""

    place: str
    """The file, and the episode in it where there are several."""
    lines: np.ndarray[tuple[int], np.dtype[np.int64]]
    """(T,) where each row stands in the file; its head is line 1."""
    stamps: FloatArray
    """(T,) s."""
    states: FloatArray
    """(T, S)."""
    actions: FloatArray
    """(T, A)."""
    rewards: FloatArray
    """(T,); zeros where none was logged."""
    terminated: bool = False
    """The task ended by itself in the last row."""

    def rows(self, chosen: slice) -> Log:
        """Some of the rows; it ends by itself only if they reach to the end."""
        ended = self.terminated and range(*chosen.indices(len(self.stamps)))[-1] == len(self.stamps) - 1
        parts = {name: getattr(self, name)[chosen] for name in ("lines", "stamps", "states", "actions", "rewards")}
        return replace(self, **parts, terminated=ended)

    def episode(self, dt: float) -> Episode:
        """Its T - 1 steps."""
        return Episode(
            observations=self.states.astype(np.float32),
            actions=self.actions[:-1].astype(np.float32),
            rewards=self.rewards[:-1].astype(np.float32),
            terminated=self.terminated,
            truncated=not self.terminated,
            control_dt=dt,
            behaviour="logged",
        )


def read_logs(paths: Sequence[Path], columns: ColumnMap) -> list[Log]:
    """Read CSV files; names and numbers are checked here, what they say later.

    Raises:
        ConfigError: the map is none.
        DataError: a file cannot be read, a column is missing (the nearest is named), or a cell is no number.
    """
    columns.check()
    return [log for path in paths for log in _split(path, _read_table(path, columns), columns)]


def period(logs: Sequence[Log], columns: ColumnMap) -> float:
    """Seconds between two samples: what the map says, or the median of all steps to six digits."""
    if columns.control_dt is not None:
        return columns.control_dt
    steps = np.concatenate([np.diff(log.stamps) for log in logs])
    if not len(steps) or not np.median(steps) > 0:
        raise DataError(f"{logs[0].place}: its time stamps do not advance; is {columns.time!r} the column of the time?")
    return float(f"{np.median(steps):.6g}")


def log_faults(logs: Sequence[Log], columns: ColumnMap, when: Clock, resample: bool, cut_gaps: bool) -> Iterator[str]:
    """All that is wrong with time stamps and units, one line each; what the settings mend is not named."""
    for log in logs:
        parts = clock.pieces(log.stamps, when.dt) if resample and cut_gaps else [slice(None)]
        stamped = parts if (np.diff(log.stamps) > 0).all() else [slice(None)]
        for part in stamped:
            yield from clock.stamp_faults(log.place, log.lines[part].tolist(), log.stamps[part], when, resample)
        for number, (name, unit) in enumerate(columns.state.items()):
            free = name in columns.unbounded
            yield from turn_faults(log.place, log.lines.tolist(), name, unit, log.states[:, number], free)
    names, units = list(columns.state), list(columns.state.values())
    yield from speed_faults(names, units, [log.states for log in logs], when.dt)


def resampled(logs: Sequence[Log], dt: float, described: ObservationMap) -> list[Log]:
    """The logs at a fixed period, cut at silences that are too long to bridge. Their stamps must advance."""
    found = []
    for log in logs:
        for part in (log.rows(piece) for piece in clock.pieces(log.stamps, dt)):
            moments = clock.grid(part.stamps, dt)
            if len(moments) < 2:
                continue
            own = np.append(np.diff(part.stamps), dt)
            held = np.concatenate([part.actions, (part.rewards / own)[:, None]], axis=1)
            whole = clock.between_moments(part.stamps, held, moments)
            whole = np.concatenate([whole, whole[-1:]])
            nearest = np.searchsorted(part.stamps, moments + 1e-9, side="right") - 1
            found.append(
                replace(
                    part,
                    lines=part.lines[nearest],
                    stamps=moments,
                    states=restored(clock.at_moments(part.stamps, part.states, moments), described),
                    actions=whole[:, :-1] / dt,
                    rewards=whole[:, -1],
                )
            )
    return found


def shifted(log: Log, lag: int) -> Log:
    """The action of row t + ``lag`` beside the state of row t; rows without one are dropped."""
    if lag == 0:
        return log
    keep = slice(max(0, -lag), len(log.stamps) - max(0, lag))
    moved = slice(max(0, lag), len(log.stamps) - max(0, -lag))
    kept = log.rows(keep)
    return replace(kept, actions=log.actions[moved], terminated=log.terminated)


def observation_map_of(logs: Sequence[Log], columns: ColumnMap) -> ObservationMap:
    """What the columns of the state are, as the map says and their numbers show. Ask before anything is resampled."""
    plain = [number for number, unit in enumerate(columns.state.values()) if unit_named(unit, "").quantity == "number"]
    found = find_unit_vectors(np.concatenate([log.states for log in logs]), plain)
    return replace(found, angles=tuple(n for n, name in enumerate(columns.state) if name in columns.unbounded))


def task_of(logs: Sequence[Log], columns: ColumnMap, dt: float, described: ObservationMap) -> TaskSpec:
    """The robot, as far as its logs tell: no simulator, and no bounds of the state."""
    low, high = [], []
    for number, (name, unit) in enumerate(columns.action.items()):
        seen = np.concatenate([log.actions[:, number] for log in logs])
        ends = [end * UNITS[unit].factor for end in columns.limits.get(name, [])]
        low.append(ends[0] if ends else float(seen.min()))
        high.append(ends[1] if ends else float(seen.max()))
        if not low[-1] < high[-1]:
            raise DataError(f"action {name!r} is {low[-1]:.4g} in every row: leave it out of the map, or log it moving")
        beyond = (seen < low[-1] - 1e-6) | (seen > high[-1] + 1e-6)
        if beyond.any():
            raise DataError(
                f"action {name!r} reaches {seen[beyond][0] / UNITS[unit].factor:.4g} {unit}, beyond its limits "
                f"{list(columns.limits[name])} in the map; correct them, or its unit"
            )
    size = len(columns.state)
    return TaskSpec(
        name=columns.name,
        observation_space=BoxSpec((-np.inf,) * size, (np.inf,) * size),
        action_space=BoxSpec(tuple(low), tuple(high)),
        control_dt=dt,
        max_episode_steps=columns.max_episode_steps or max(len(log.stamps) - 1 for log in logs),
        observation_map=described,
    )


def _read_table(path: Path, columns: ColumnMap) -> dict[str, FloatArray]:
    """The named columns as numbers; the episode's may be text."""
    try:
        table = pyarrow.csv.read_csv(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: not a CSV table with one head line ({reason})") from error
    for name in columns.columns:
        if name not in table.column_names:
            near = difflib.get_close_matches(name, table.column_names, 1, 0.3)
            meant = f"did you mean {near[0]!r}? " if near else ""
            raise DataError(f"{path}: no column {name!r}; {meant}(it has {', '.join(table.column_names)})")
    if table.num_rows < 2:
        raise DataError(f"{path}: {table.num_rows} rows; an episode has at least two")
    return {name: _numbers(path, name, table[name], name == columns.episode) for name in columns.columns}


def _numbers(path: Path, name: str, column: pa.ChunkedArray, may_be_text: bool) -> FloatArray:
    """A column as float64; refuses holes, text and what is not finite, with the line."""
    kind = column.type
    if may_be_text and not column.null_count:
        values = column.to_numpy()
        return np.asarray(np.unique(values.astype(str), return_inverse=True)[1], dtype=np.float64)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        cells = column.to_pylist()
        line, cell = next(((row + 2, cell) for row, cell in enumerate(cells) if not _is_number(cell)), (2, cells[0]))
        raise DataError(f"{path}: line {line}: {name!r} is {cell!r}, not a number; remove the row, or mend the cell")
    values = np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise DataError(
            f"{path}: line {bad[0] + 2}: {name!r} is empty or not finite{more}; remove the row, resample=true bridges"
        )
    return values


def _is_number(cell: object) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return False
    return True


def _split(path: Path, table: Mapping[str, FloatArray], columns: ColumnMap) -> Iterator[Log]:
    """The episodes of one file."""
    rows = len(next(iter(table.values())))
    episode = table[columns.episode] if columns.episode else np.zeros(rows)
    cuts = [0, *(np.flatnonzero(np.diff(episode)) + 1).tolist(), rows]
    lines = np.arange(rows) + 2
    stamps = np.arange(rows) * (columns.control_dt or 0.0)
    if columns.time is not None:
        stamps = table[columns.time] * UNITS[columns.time_unit].factor
    ended = table[columns.terminated] != 0 if columns.terminated else np.zeros(rows, bool)
    for number, (first, last) in enumerate(pairwise(cuts)):
        place = f"{path} (episode {number})" if len(cuts) > 2 else str(path)
        part = {name: values[first:last] for name, values in table.items()}
        if last - first < 2:
            raise DataError(f"{place}: one row at line {lines[first]}; an episode has at least two")
        early = np.flatnonzero(ended[first : last - 1])
        if len(early):
            line = lines[first + early[0]]
            raise DataError(
                f"{place}: line {line}: {columns.terminated!r} before the last row of its episode; name the column "
                "that tells episodes apart (episode: in the map), or remove the rows after it"
            )
        yield Log(
            place=place,
            lines=lines[first:last],
            stamps=stamps[first:last],
            states=_matrix(part, columns.state, columns.unbounded),
            actions=_matrix(part, columns.action, []),
            rewards=part[columns.reward] if columns.reward else np.zeros(last - first),
            terminated=bool(ended[last - 1]),
        )


def _matrix(table: Mapping[str, FloatArray], columns: Mapping[str, str], unbounded: Sequence[str]) -> FloatArray:
    """Columns side by side in SI units; angles that turn on are unwound, so that they have no jumps."""
    found = []
    for name, unit in columns.items():
        values = table[name] * UNITS[unit].factor
        found.append(np.unwrap(values) if name in unbounded else values)
    return np.stack(found, axis=1)
