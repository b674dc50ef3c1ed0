"""Episode <-> columns of numbers <-> parquet file.

One row is one observation, so an episode of T steps has T+1 rows. The last row, which no action leaves, has zero action
and reward, and ``is_final`` true. LeRobot stores a feature of size 1 as a plain number, not as a list of one: so do we.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wm_gym.errors import DataError
from wm_gym.types import Episode, FrameArray, TaskSpec

UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError)
"""All the ways in which pyarrow fails on a damaged file."""
Columns = dict[str, np.ndarray[Any, Any]]
"""Column name -> (rows,) or (rows, D), D > 1."""

STATE, ACTION, REWARD, FINAL = "observation.state", "action", "next.reward", "is_final"
TERMINATED, TRUNCATED, DONE = "next.terminated", "next.truncated", "next.done"
QPOS, QVEL = "privileged.qpos", "privileged.qvel"


_MOST_NUMBERS_PER_BYTE = 64  # columns that never change take next to nothing, but those that count the rows do not


def check_episode(name: str, episode: Episode, task: TaskSpec) -> None:
    """Refuse an episode that does not fit its task, with a DataError that starts with ``name``."""
    steps = len(episode)
    if steps < 1:
        raise DataError(f"{name}: no steps")
    expected = {
        "observations": (episode.observations, (steps + 1, task.observation_space.size)),
        "actions": (episode.actions, (steps, task.action_space.size)),
        "rewards": (episode.rewards, (steps,)),
    }
    if (episode.qpos is None) != (episode.qvel is None):
        raise DataError(f"{name}: qpos and qvel go together, one of them is missing")
    for label, values in (("qpos", episode.qpos), ("qvel", episode.qvel)):
        if values is not None:
            expected[label] = (values, (steps + 1, max(1, values.size // (steps + 1))))
    for label, (values, shape) in expected.items():
        if values.shape != shape:
            raise DataError(f"{name}: {label} of shape {values.shape}, task {task.name!r} needs {shape}")
        if not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0][0])
            raise DataError(f"{name}: {label}[{row}] is not finite")
    cameras = {camera.name: (steps + 1, camera.height, camera.width, 3) for camera in task.cameras}
    if set(episode.frames) != set(cameras):
        raise DataError(f"{name}: cameras {sorted(episode.frames)}, task {task.name!r} has {sorted(cameras)}")
    for camera, frames in episode.frames.items():
        if frames.shape != cameras[camera] or frames.dtype != np.uint8:
            raise DataError(
                f"{name}: camera {camera!r} gave {frames.shape} {frames.dtype}, not {cameras[camera]} uint8"
            )


def columns_of(episode: Episode, fps: int) -> Columns:
    """The episode's rows; what depends on its place in a dataset (its index and its rows') is not among them."""
    steps = len(episode)
    row = np.arange(steps + 1)
    columns: Columns = {}
    if episode.observations.shape[1]:
        columns[STATE] = episode.observations.astype(np.float32)
    columns[ACTION] = _with_final_row(episode.actions.astype(np.float32))
    columns[REWARD] = _with_final_row(episode.rewards.astype(np.float32))
    columns[TERMINATED] = (row == steps - 1) & episode.terminated
    columns[TRUNCATED] = (row == steps - 1) & episode.truncated
    columns[DONE] = columns[TERMINATED] | columns[TRUNCATED]
    columns[FINAL] = row == steps
    if episode.qpos is not None and episode.qvel is not None:
        columns[QPOS], columns[QVEL] = episode.qpos.astype(np.float64), episode.qvel.astype(np.float64)
    columns["timestamp"] = (row / fps).astype(np.float32)
    columns["frame_index"] = row
    return {
        name: values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values for name, values in columns.items()
    }


def episode_of(
    columns: Mapping[str, np.ndarray[Any, Any]],
    control_dt: float,
    behaviour: str,
    seed: int,
    frames: Mapping[str, FrameArray],
) -> Episode:
    """Inverse of :func:`columns_of`; the arrays are copies of their own."""
    rows = len(columns[ACTION])

    def matrix(name: str) -> np.ndarray[Any, Any]:
        return columns[name].reshape(rows, -1).copy()

    return Episode(
        observations=matrix(STATE) if STATE in columns else np.zeros((rows, 0), np.float32),
        actions=matrix(ACTION)[:-1],
        rewards=columns[REWARD][:-1].copy(),
        terminated=bool(columns[TERMINATED][-2]),
        truncated=bool(columns[TRUNCATED][-2]),
        control_dt=control_dt,
        frames=frames,
        qpos=matrix(QPOS) if QPOS in columns else None,
        qvel=matrix(QVEL) if QVEL in columns else None,
        behaviour=behaviour,
        seed=seed,
    )


def write_table(path: Path, columns: Columns) -> None:
    """Write columns as parquet; a matrix becomes a column of fixed-size lists."""
    arrays = {name: _to_arrow(values) for name, values in columns.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays), path)


def read_table(path: Path, names: Collection[str] | None = None) -> Columns:
    """Read every column that :func:`write_table` wrote, or those of ``names`` that are there.

    Raises:
        DataError: the file is missing, cut short, damaged, or has holes; names it.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file")
    try:
        file = open_parquet(path)
        held = file.schema_arrow.names
        table = file.read([name for name in held if names is None or name in names], use_threads=False)
        return {name: _from_arrow(path, name, table[name]) for name in table.column_names}
    except UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: damaged parquet ({reason})") from error


def open_parquet(path: Path) -> Any:
    """Open a parquet file, unless it promises far more numbers than its size can hold.

    Raises:
        ValueError: it does, or is no file: runs of one value would be unpacked without end.
    """
    if not path.is_file():
        raise ValueError("not a file")
    file = pq.ParquetFile(path)
    groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
    numbers = sum(group.column(index).num_values for group in groups for index in range(group.num_columns))
    if numbers > _MOST_NUMBERS_PER_BYTE * path.stat().st_size:
        raise ValueError(f"{numbers} numbers in {path.stat().st_size} bytes")
    return file


def _with_final_row(steps: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.concatenate([steps, np.zeros((1, *steps.shape[1:]), steps.dtype)])


def _to_arrow(values: np.ndarray[Any, Any]) -> Any:
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _from_arrow(path: Path, name: str, column: Any) -> np.ndarray[Any, Any]:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    if pa.types.is_fixed_size_list(array.type):
        flat, width = array.flatten(), array.type.list_size
        if width < 1 or len(flat) != len(array) * width or flat.null_count:
            raise DataError(f"{path}: column {name!r} has holes")
        return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(-1, width)
    if array.null_count:
        raise DataError(f"{path}: column {name!r} has holes")
    return np.asarray(array.to_numpy(zero_copy_only=False))
