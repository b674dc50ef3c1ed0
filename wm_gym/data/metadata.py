"""What lies in a dataset's meta/: manifest, task, LeRobot's info and the list of episodes. Read without trust."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from wm_gym.data import lerobot
from wm_gym.data.tables import UNREADABLE, open_parquet
from wm_gym.errors import DataError
from wm_gym.files import read_json
from wm_gym.types import TaskSpec

TASK, MANIFEST = "meta/task.json", "meta/MANIFEST.json"
SCHEMA_VERSION = 1
REMEDY = "record the dataset again, or restore the folder from a copy"
_WHOLE = {"episode_index", "length", "dataset_from_index", "dataset_to_index", "seed"}


@dataclass(frozen=True)
class EpisodeRows:
    """The list of episodes: how long each is and where its rows and frames lie."""

    rows: np.ndarray[Any, np.dtype[np.int64]]
    """(N,) rows of each episode, one more than its steps."""
    behaviours: tuple[str, ...]
    seeds: tuple[int, ...]
    places: tuple[tuple[int, int], ...]
    """(video file, first frame in it) of each episode."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a dataset.

    Raises:
        DataError: there is no dataset, it is not finished, or the manifest is damaged.
    """
    if not folder.is_dir():
        if folder.with_name(folder.name + ".staging").is_dir():
            raise DataError(f"{folder}: this recording is not finished; repeat its command, it goes on from there")
        raise DataError(f"{folder}: no such dataset folder; record one first")
    if not (folder / MANIFEST).exists():
        raise DataError(f"{folder}: not a dataset of wm_gym: {MANIFEST} is missing")
    manifest = read_json(folder / MANIFEST)
    if manifest.get("schema_version") != SCHEMA_VERSION or not isinstance(manifest.get("files"), dict):
        raise DataError(
            f"{folder / MANIFEST}: schema version {manifest.get('schema_version')!r}, this wm_gym reads "
            f"{SCHEMA_VERSION}; record the dataset again with it"
        )
    for name, kind in (("recipe", dict), ("versions", dict), ("provenance", dict), ("command", str)):
        if name in manifest and not isinstance(manifest[name], kind):
            raise DataError(f"{folder / MANIFEST}: {name!r} is no {kind.__name__}; {REMEDY}")
    if not all(isinstance(value, str) for value in manifest["files"].values()):
        raise DataError(f"{folder / MANIFEST}: the sha256 of a file is no text; {REMEDY}")
    return manifest


def read_task(folder: Path) -> TaskSpec:
    """The task that was recorded; raises ``DataError``."""
    try:
        return TaskSpec.from_dict(read_json(folder / TASK))
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise DataError(f"{folder / TASK}: not a task description ({error!r}); {REMEDY}") from error


def read_info(folder: Path) -> dict[str, Any]:
    """LeRobot's own description of the dataset; raises ``DataError``."""
    info = read_json(folder / lerobot.INFO)
    if info.get("codebase_version") != lerobot.CODEBASE_VERSION:
        raise DataError(
            f"{folder / lerobot.INFO}: LeRobot version {info.get('codebase_version')!r}; "
            f"only {lerobot.CODEBASE_VERSION} is read: convert it with LeRobot's own tool"
        )
    return info


def read_episode_rows(path: Path, task: TaskSpec) -> EpisodeRows:
    """The list of episodes, complete and in order.

    Raises:
        DataError: names what is missing, damaged or out of order.
    """
    prefix = f"videos/{lerobot.camera_key(task.cameras[0].name)}" if task.cameras else ""
    video = [f"{prefix}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")] if task.cameras else []
    meta = _read_columns(path, [*sorted(_WHOLE), "behaviour", *video])
    expected = 0
    for index, first in enumerate(meta["dataset_from_index"]):
        length, last = meta["length"][index], meta["dataset_to_index"][index]
        if meta["episode_index"][index] != index or first != expected or last != first + length or length < 2:
            raise DataError(f"{path}: episode {index} does not continue the one before it; {REMEDY}")
        expected = last
    if not expected:
        raise DataError(f"{path}: no episodes; {REMEDY}")
    places = ((0, 0),) * len(meta["length"])
    if video:
        places = _video_places(path, [meta[name] for name in video], lerobot.nominal_fps(task.control_dt))
    return EpisodeRows(np.array(meta["length"], np.int64), tuple(meta["behaviour"]), tuple(meta["seed"]), places)


def _read_columns(path: Path, names: list[str]) -> dict[str, list[Any]]:
    """Some columns of meta/episodes as lists, each of the kind that it must be."""
    try:
        file = open_parquet(path)
        held = file.schema_arrow.names
        if missing := [name for name in names if name not in held]:
            raise DataError(f"{path}: columns {missing} are missing; {REMEDY}")
        table = file.read(columns=names, use_threads=False)
        for name in names:
            column = table[name]
            whole = pa.types.is_integer(column.type) and (name in _WHOLE or name.endswith("_index"))
            text = pa.types.is_string(column.type) and name == "behaviour"
            clock = pa.types.is_floating(column.type) and name.endswith("_timestamp")
            if not (whole or text or clock) or column.null_count:
                raise DataError(f"{path}: column {name!r} has holes, or holds {column.type}; {REMEDY}")
        columns: dict[str, list[Any]] = table.select(names).to_pydict()
    except UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: damaged parquet ({reason}); {REMEDY}") from error
    return columns


def _video_places(path: Path, columns: list[list[Any]], fps: int) -> tuple[tuple[int, int], ...]:
    """All cameras share one clock, so the places of the first one's frames hold for all."""
    places = []
    for index, (chunk, file, start) in enumerate(zip(*columns, strict=True)):
        if not (0 <= chunk < 1000 and 0 <= file < lerobot.FILES_PER_CHUNK and 0 <= start < 1e9):
            raise DataError(f"{path}: episode {index} lies in no video (file {file} from {start} s); {REMEDY}")
        places.append((chunk * lerobot.FILES_PER_CHUNK + file, round(start * fps)))
    return tuple(places)
