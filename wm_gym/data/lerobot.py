"""The format of a LeRobotDataset v3.0 folder: where its files lie and what its metadata says.

Videos are cut into files of at most ten minutes. A damaged file then costs little; and LeRobot finds a frame by its
time in the file, compared as float32 with a tolerance of 0.1 ms, which is finer than float32 itself beyond 1024 s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wm_gym.data.tables import ACTION, QPOS, QVEL, STATE, Columns
from wm_gym.types import CameraSpec, FrameArray, TaskSpec

CODEBASE_VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES, DATA = "meta/episodes/chunk-000/file-000.parquet", "data/chunk-000/file-000.parquet"
FILES_PER_CHUNK = 1000
MAX_VIDEO_SECONDS = 600.0
MAX_FRAMES_DESCRIBED = 32
"""Frames of an episode that its image statistics are computed from, evenly spaced."""

Statistics = dict[str, list[Any]]
"""min, max, mean, std, count and five quantiles, each a list: (D,), or (3, 1, 1) for images."""

_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def nominal_fps(control_dt: float) -> int:
    """LeRobot's integer frames per second; the exact period stays in the TaskSpec."""
    return max(1, round(1 / control_dt))


def camera_key(camera: str) -> str:
    """Name of a camera's feature."""
    return f"observation.images.{camera}"


def video_file(camera: str, file: int) -> str:
    """Path of a camera's n-th video inside the folder."""
    return f"videos/{camera_key(camera)}/chunk-{file // FILES_PER_CHUNK:03d}/file-{file % FILES_PER_CHUNK:03d}.mp4"


def describe_numbers(values: np.ndarray[Any, Any]) -> Statistics:
    """Statistics over the rows of (n,) or (n, D)."""
    matrix = values.reshape(len(values), -1).astype(np.float64)
    quantiles = np.quantile(matrix, list(_QUANTILES.values()), axis=0)
    described = {
        "min": matrix.min(0),
        "max": matrix.max(0),
        "mean": matrix.mean(0),
        "std": matrix.std(0),
        "count": np.array([len(matrix)]),
        **dict(zip(_QUANTILES, quantiles, strict=True)),
    }
    return {name: value.tolist() for name, value in described.items()}


def describe_frames(frames: FrameArray) -> Statistics:
    """Statistics of each colour in [0, 1] over some of the frames (n, H, W, 3); ``count`` is the number of those."""
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, MAX_FRAMES_DESCRIBED).round().astype(int))]
    described = describe_numbers(chosen.reshape(-1, 3) / 255.0)
    shaped: Statistics = {name: [[[value]] for value in values] for name, values in described.items()}
    shaped["count"] = [len(chosen)]
    return shaped


def pool_statistics(parts: Sequence[Statistics]) -> Statistics:
    """Statistics of the union, exact but for the quantiles, which are averaged as LeRobot does."""
    arrays = {name: np.array([part[name] for part in parts], dtype=np.float64) for name in parts[0]}
    weight = arrays.pop("count").reshape(-1, *(1,) * (arrays["mean"].ndim - 1))
    weight = weight / weight.sum()
    mean = (weight * arrays["mean"]).sum(0)
    variance = (weight * (arrays["std"] ** 2 + (arrays["mean"] - mean) ** 2)).sum(0)
    pooled = {name: (weight * arrays[name]).sum(0).tolist() for name in _QUANTILES}
    pooled |= {"min": arrays["min"].min(0).tolist(), "max": arrays["max"].max(0).tolist()}
    pooled |= {"mean": mean.tolist(), "std": np.sqrt(variance).tolist()}
    pooled["count"] = [sum(int(part["count"][0]) for part in parts)]
    return pooled


def dataset_info(task: TaskSpec, columns: Columns, episodes: int) -> dict[str, Any]:
    """The content of meta/info.json."""
    fps = nominal_fps(task.control_dt)
    features = {name: _number_feature(name, values) for name, values in columns.items()}
    features |= {camera_key(camera.name): _video_feature(camera, fps) for camera in task.cameras}
    return {
        "codebase_version": CODEBASE_VERSION,
        "robot_type": task.name,
        "total_episodes": episodes,
        "total_frames": len(columns["index"]),
        "total_tasks": 1,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4" if task.cameras else None,
        "features": features,
    }


def _number_feature(name: str, values: np.ndarray[Any, Any]) -> dict[str, Any]:
    size = values.shape[1] if values.ndim == 2 else 1
    names = [f"{name.rpartition('.')[2]}_{i}" for i in range(size)] if name in (STATE, ACTION, QPOS, QVEL) else None
    return {"dtype": values.dtype.name, "shape": [size], "names": names}


def _video_feature(camera: CameraSpec, fps: int) -> dict[str, Any]:
    return {
        "dtype": "video",
        "shape": [camera.height, camera.width, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": camera.height,
            "video.width": camera.width,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": False,
        },
    }


def assign_video_files(rows: Sequence[int], fps: int) -> list[tuple[int, int]]:
    """(file, first frame in it) of each episode, files filled in order up to ``MAX_VIDEO_SECONDS``."""
    places, file, used = [], 0, 0
    for count in rows:
        if used and (used + count) / fps > MAX_VIDEO_SECONDS:
            file, used = file + 1, 0
        places.append((file, used))
        used += count
    return places


def episode_row(
    index: int,
    task: TaskSpec,
    first_row: int,
    rows: int,
    video: tuple[int, int],
    statistics: Mapping[str, Statistics],
) -> dict[str, Any]:
    """One row of meta/episodes, without the columns that are ours."""
    fps, (file, first_frame) = nominal_fps(task.control_dt), video
    row: dict[str, Any] = {
        "episode_index": index,
        "tasks": [task.name],
        "length": rows,
        "data/chunk_index": 0,
        "data/file_index": 0,
        "dataset_from_index": first_row,
        "dataset_to_index": first_row + rows,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
    }
    for camera in task.cameras:
        prefix = f"videos/{camera_key(camera.name)}"
        row[f"{prefix}/chunk_index"] = file // FILES_PER_CHUNK
        row[f"{prefix}/file_index"] = file % FILES_PER_CHUNK
        row[f"{prefix}/from_timestamp"] = first_frame / fps
        row[f"{prefix}/to_timestamp"] = (first_frame + rows) / fps
    for feature, described in statistics.items():
        row |= {f"stats/{feature}/{name}": value for name, value in described.items()}
    return row


def write_episode_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write meta/episodes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def write_tasks(path: Path, task: str) -> None:
    """Write meta/tasks.parquet: a pandas frame whose index is the task's words, described by hand to spare pandas."""
    index = "__index_level_0__"
    frame = {
        "index_columns": [index],
        "column_indexes": [
            {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
        ],
        "columns": [
            {
                "name": "task_index",
                "field_name": "task_index",
                "pandas_type": "int64",
                "numpy_type": "int64",
                "metadata": None,
            },
            {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object", "metadata": None},
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    table = pa.table({"task_index": pa.array([0], pa.int64()), index: pa.array([task])})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(frame)}), path)
