"""A folder that LeRobot itself wrote, with nothing of ours in it: plain ``observation.state`` and ``action``.

LeRobot keeps one row for each step and no row for where the last one led. So an episode of T rows has T - 1 steps here,
and whether a task ended by itself is not told. Cameras are left aside.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wm_gym.checks import raise_first
from wm_gym.data import lerobot, tables
from wm_gym.data.alignment import find_alignment
from wm_gym.data.clock import Clock, stamp_faults
from wm_gym.data.logs import ColumnMap, Log
from wm_gym.data.metadata import MANIFEST, TASK, EpisodeRows, read_info
from wm_gym.data.unit_vectors import find_unit_vectors
from wm_gym.errors import DataError
from wm_gym.files import file_hash
from wm_gym.types import BoxSpec, TaskSpec

_NEEDED = (tables.STATE, tables.ACTION, "episode_index", "frame_index", "timestamp")
_REMEDY = "mend the recording with LeRobot's own tools"


def is_foreign(folder: Path) -> bool:
    """Whether this is a LeRobotDataset that wm_gym did not write."""
    return (folder / lerobot.INFO).is_file() and not any((folder / name).exists() for name in (MANIFEST, TASK))


def read_foreign(folder: Path) -> tuple[TaskSpec, dict[str, Any], EpisodeRows, tables.Columns]:
    """Task, manifest, list of episodes and table, as if the folder were ours.

    The manifest's recipe says under ``unrecorded`` what LeRobot did not log (``reward``, ``termination``), and
    ``notes`` what a reader should know.

    Raises:
        DataError: columns are missing or not finite, or the time stamps are not those of the stated rate.
    """
    info, logged, starts, rows = _load(folder)
    fps = float(info["fps"])
    raise_first(DataError, _faults(str(folder / "data"), logged, starts, rows, fps))
    columns = _as_ours(logged, rows)
    task = _task(info, columns, rows, 1.0 / fps)
    unrecorded = [] if tables.REWARD in logged else ["reward"]
    manifest = {
        "schema_version": 1,
        "kind": "dataset",
        "licence": _licence(folder / "README.md"),
        "command": "recorded with LeRobot",
        "versions": {"lerobot_format": info["codebase_version"]},
        "recipe": {"unrecorded": [*unrecorded, "termination"]},
        "notes": _notes(columns, starts, rows),
        "files": {
            path.relative_to(folder).as_posix(): file_hash(path) for path in (folder / lerobot.INFO, *_tables(folder))
        },
    }
    listed = EpisodeRows(rows.astype(np.int64), ("logged",) * len(rows), (0,) * len(rows), ((0, 0),) * len(rows))
    return task, manifest, listed, columns


def foreign_logs(folder: Path) -> tuple[ColumnMap, list[Log]]:
    """The same as logs, whose stamps and actions can still be mended, and the map that LeRobot's names amount to.

    Raises:
        DataError: columns are missing.
    """
    info, logged, starts, rows = _load(folder)
    flat = {name: values.reshape(len(values), -1).astype(np.float64) for name, values in logged.items()}
    for name, values in flat.items():
        if len(bad := np.flatnonzero(~np.isfinite(values).all(axis=1))):
            raise DataError(f"{folder / 'data'}: {name!r} is not finite in row {bad[0]}; {_REMEDY}")
    names = {name: _names(info, name, flat[name].shape[1]) for name in (tables.STATE, tables.ACTION)}
    columns = ColumnMap(
        state=dict.fromkeys(names[tables.STATE], "1"),
        action=dict.fromkeys(names[tables.ACTION], "1"),
        name=str(info.get("robot_type") or "robot"),
        control_dt=1.0 / float(info["fps"]),
        time="timestamp",
        reward=tables.REWARD if tables.REWARD in logged else None,
    )
    logs = []
    for first, count in zip(starts.tolist(), rows.tolist(), strict=True):
        part = slice(first, first + count)
        logs.append(
            Log(
                place=f"{folder / 'data'}: episode {int(logged['episode_index'][first])}",
                lines=np.arange(count),
                stamps=flat["timestamp"][part, 0],
                states=flat[tables.STATE][part],
                actions=flat[tables.ACTION][part],
                rewards=flat[tables.REWARD][part, 0] if columns.reward else np.zeros(count),
            )
        )
    return columns, logs


def _load(
    folder: Path,
) -> tuple[dict[str, Any], tables.Columns, np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]:
    """Info, columns, and the first row and the number of rows of each episode."""
    info = read_info(folder)
    fps = info.get("fps")
    if not isinstance(fps, int | float) or not 1e-6 < fps < 1e6:
        raise DataError(f"{folder / lerobot.INFO}: fps is {fps!r}; {_REMEDY}")
    files = _tables(folder)
    if not files:
        raise DataError(f"{folder}: no data/chunk-000/file-000.parquet; {_REMEDY}")
    parts = [_read(path) for path in files]
    logged = {
        name: np.concatenate([part[name] for part in parts]) for name in parts[0] if all(name in p for p in parts)
    }
    starts = np.flatnonzero(np.diff(logged["episode_index"], prepend=-1))
    return info, logged, starts, np.diff(np.append(starts, len(logged["episode_index"])))


def _tables(folder: Path) -> list[Path]:
    return sorted(folder.glob("data/chunk-*/file-*.parquet"))


def _names(info: dict[str, Any], feature: str, size: int) -> list[str]:
    """LeRobot's own names of a feature's numbers, where there is one for each and no two are alike."""
    names = info.get("features", {}).get(feature, {}).get("names")
    given = [str(name) for name in names] if isinstance(names, list) else []
    short = feature.rpartition(".")[2]
    return given if len(set(given)) == size else [f"{short}_{number}" for number in range(size)]


def _licence(card: Path) -> str | None:
    """What the dataset card's head says, as Hugging Face has it: ``license: mit`` between two lines of dashes."""
    if not card.is_file():
        return None
    head = card.read_text(encoding="utf-8", errors="replace")[:4000].partition("---")[2].partition("---")[0]
    stated = [line.partition(":")[2].strip() for line in head.splitlines() if line.startswith("license:")]
    return stated[0] if stated else None


def _read(path: Path) -> tables.Columns:
    """The columns that are needed, and the reward where it is there."""
    held = tables.read_table(path, (*_NEEDED, tables.REWARD))
    missing = [name for name in _NEEDED if name not in held]
    if missing:
        raise DataError(f"{path}: no column {missing[0]!r}: a model of the state needs {', '.join(_NEEDED[:2])}")
    return held


def _faults(
    place: str, columns: tables.Columns, starts: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], fps: float
) -> Iterator[str]:
    """What cannot be learnt from: numbers that are none, episodes too short, stamps off the rate."""
    for name, values in columns.items():
        wrong = ~np.isfinite(values.reshape(len(values), -1).astype(np.float64)).all(1)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            yield f"{place}: {name!r} is not finite in row {row} (and {int(wrong.sum()) - 1} more); {_REMEDY}"
    for first, count in zip(starts.tolist(), rows.tolist(), strict=True):
        where = f"{place}: episode {int(columns['episode_index'][first])}"
        if count < 2:
            yield f"{where}: one row; an episode has at least two: delete it with LeRobot's own tools"
        stamps = columns["timestamp"][first : first + count].astype(np.float64)
        for fault in stamp_faults(where, range(count), stamps, Clock(1.0 / fps), resample=False):
            yield f"{fault.replace('line', 'row').partition(': resample=')[0]}; {_REMEDY}"


def _as_ours(logged: tables.Columns, rows: np.ndarray[Any, Any]) -> tables.Columns:
    """Our columns: no action leaves the last row, and every episode was cut there."""
    total = int(rows.sum())
    final = np.zeros(total, bool)
    final[np.cumsum(rows) - 1] = True
    last = np.roll(final, -1)
    last[-1] = False
    keep = ~final
    action = logged[tables.ACTION].astype(np.float32)
    reward = logged.get(tables.REWARD, np.zeros(total)).reshape(total).astype(np.float32)
    return {
        tables.STATE: logged[tables.STATE].astype(np.float32),
        tables.ACTION: action * (keep if action.ndim == 1 else keep[:, None]),
        tables.REWARD: reward * keep,
        tables.TERMINATED: np.zeros(total, bool),
        tables.TRUNCATED: last,
        tables.FINAL: final,
        "episode_index": np.repeat(np.arange(len(rows)), rows),
        "frame_index": np.concatenate([np.arange(count) for count in rows]),
    }


def _task(info: dict[str, Any], columns: tables.Columns, rows: np.ndarray[Any, Any], dt: float) -> TaskSpec:
    """The robot by its name in the info; the actions' bounds are the extremes that were commanded."""
    actions = columns[tables.ACTION].reshape(len(columns[tables.ACTION]), -1)[~columns[tables.FINAL]]
    low, high = actions.min(axis=0).astype(float), actions.max(axis=0).astype(float)
    still = np.flatnonzero(low >= high)
    high[still] = low[still] + 1e-6  # an actuator that never moved: a space must have some width
    states = columns[tables.STATE].reshape(len(columns[tables.STATE]), -1)
    size = states.shape[1]
    return TaskSpec(
        name=str(info.get("robot_type") or "robot"),
        observation_space=BoxSpec((-np.inf,) * size, (np.inf,) * size),
        action_space=BoxSpec(tuple(low.tolist()), tuple(high.tolist())),
        control_dt=dt,
        max_episode_steps=int(rows.max()) - 1,
        observation_map=find_unit_vectors(states, range(size)),
    )


def _notes(columns: tables.Columns, starts: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> list[str]:
    """Actions that seem to stand one row off."""
    cuts = [slice(first, first + count) for first, count in zip(starts.tolist(), rows.tolist(), strict=True)]
    parts = {name: columns[name].reshape(len(columns[name]), -1) for name in (tables.STATE, tables.ACTION)}
    found = find_alignment([parts[tables.STATE][cut] for cut in cuts], [parts[tables.ACTION][cut] for cut in cuts])
    if found is None or not found.certain:
        return []
    return [f"{found.sentence()}: the log is one row off, or the robot is one step late"]
