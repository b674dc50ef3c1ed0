"""Read a dataset folder: a LeRobotDataset v3.0 with our task, hashes and provenance in its meta/.

Opening checks everything that can be checked without decoding a frame or hashing a file, so that a fault is met here,
named, and not as a strange number later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wm_gym.data import lerobot, tables
from wm_gym.data.video import inspect_video, read_video
from wm_gym.errors import DataError
from wm_gym.files import file_hash, read_json
from wm_gym.types import Episode, TaskSpec

TASK, MANIFEST = "meta/task.json", "meta/MANIFEST.json"
SCHEMA_VERSION = 1
_REMEDY = "record the dataset again, or restore the folder from a copy"


@dataclass(frozen=True)
class Dataset:
    """A recorded dataset. Its table is in memory; frames are decoded when asked for."""

    folder: Path
    task: TaskSpec
    manifest: dict[str, Any]
    """Schema version, sha256 of every file, versions, licence, recipe, seed, command, provenance."""
    lengths: np.ndarray[Any, np.dtype[np.int64]]
    """(N,) steps of each episode."""
    behaviours: tuple[str, ...]
    """What acted in each episode."""
    seeds: tuple[int, ...]
    """What the environment was reset with in each episode."""
    _columns: tables.Columns
    _places: tuple[tuple[int, int], ...]
    """(video file, first frame in it) of each episode."""

    def __len__(self) -> int:
        """N, the number of episodes."""
        return len(self.lengths)

    @property
    def num_steps(self) -> int:
        """Recorded steps of all episodes together."""
        return int(self.lengths.sum())

    def episode(self, index: int, cameras: Sequence[str] = ()) -> Episode:
        """One episode, with the frames of the cameras that are named.

        Raises:
            DataError: no such episode or camera, or a video is damaged.
        """
        if not 0 <= index < len(self):
            raise DataError(f"{self.folder}: no episode {index}; it has 0 to {len(self) - 1}")
        rows = int(self.lengths[index]) + 1
        first = int((self.lengths[:index] + 1).sum())
        columns = {name: values[first : first + rows] for name, values in self._columns.items()}
        file, frame = self._places[index]
        frames = {}
        for camera in cameras:
            if camera not in {known.name for known in self.task.cameras}:
                raise DataError(
                    f"{self.folder}: no camera {camera!r}; it has {[known.name for known in self.task.cameras]}"
                )
            try:
                frames[camera] = read_video(self.folder / lerobot.video_file(camera, file), frame, rows)
            except DataError as error:
                raise DataError(f"episode {index}: {error}") from error
        return tables.episode_of(columns, self.task.control_dt, self.behaviours[index], self.seeds[index], frames)

    def episodes(self, indices: Sequence[int] | None = None) -> Iterator[Episode]:
        """Episodes without frames, all of them or those named, in that order."""
        for index in range(len(self)) if indices is None else indices:
            yield self.episode(index)

    def digest(self) -> str:
        """Sha256 over the hashes of all files: names this dataset wherever it lies."""
        listed = "".join(f"{name} {value}\n" for name, value in sorted(self.manifest["files"].items()))
        return hashlib.sha256(listed.encode()).hexdigest()


def open_dataset(folder: Path | str) -> Dataset:
    """Open a dataset folder and check it, all but the content of videos and the hashes.

    Raises:
        DataError: names the file, the episode where there is one, and what to do.
    """
    folder = Path(folder)
    manifest, task = _read_manifest(folder), _read_task(folder)
    info = read_json(folder / lerobot.INFO)
    if info.get("codebase_version") != lerobot.CODEBASE_VERSION:
        raise DataError(
            f"{folder / lerobot.INFO}: LeRobot version {info.get('codebase_version')!r}; "
            f"only {lerobot.CODEBASE_VERSION} is read: convert it with LeRobot's own tool"
        )
    meta = _read_episode_rows(folder / lerobot.EPISODES)
    rows = np.array(meta["length"], np.int64)
    columns = tables.read_table(folder / lerobot.DATA)
    _check_table(folder / lerobot.DATA, columns, rows, task)
    places = _video_places(folder / lerobot.EPISODES, meta, task)
    _check_videos(folder, task, rows, places)
    return Dataset(
        folder=folder,
        task=task,
        manifest=manifest,
        lengths=rows - 1,
        behaviours=tuple(meta["behaviour"]),
        seeds=tuple(meta["seed"]),
        _columns=columns,
        _places=places,
    )


def verify_dataset(folder: Path | str) -> Dataset:
    """:func:`open_dataset`, then compare every file with the hash in its manifest.

    Raises:
        DataError: names the first file that differs from what was recorded.
    """
    dataset = open_dataset(folder)
    for name, expected in dataset.manifest["files"].items():
        if file_hash(dataset.folder / name) != expected:
            raise DataError(f"{dataset.folder / name}: changed since it was recorded (sha256 differs); {_REMEDY}")
    return dataset


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, once every file that it lists is there."""
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
    for name in manifest["files"]:
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: missing; {_REMEDY}")
    return manifest


def _read_task(folder: Path) -> TaskSpec:
    try:
        return TaskSpec.from_dict(read_json(folder / TASK))
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{folder / TASK}: not a task description ({error!r}); {_REMEDY}") from error


def _read_episode_rows(path: Path) -> dict[str, list[Any]]:
    """The columns of meta/episodes but the statistics, checked to be complete and in order."""
    try:
        schema = pq.read_schema(path)
        meta: dict[str, list[Any]] = pq.read_table(
            path, columns=[name for name in schema.names if not name.startswith("stats/")]
        ).to_pydict()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: damaged parquet ({str(error).splitlines()[0]}); {_REMEDY}") from error
    needed = {"episode_index", "length", "dataset_from_index", "dataset_to_index", "behaviour", "seed"}
    if not needed <= set(meta):
        raise DataError(f"{path}: columns {sorted(needed - set(meta))} are missing; {_REMEDY}")
    expected = 0
    for index, first in enumerate(meta["dataset_from_index"]):
        length, last = meta["length"][index], meta["dataset_to_index"][index]
        if meta["episode_index"][index] != index or first != expected or last != first + length or length < 2:
            raise DataError(f"{path}: episode {index} does not continue the one before it; {_REMEDY}")
        expected = last
    if not expected:
        raise DataError(f"{path}: no episodes; {_REMEDY}")
    return meta


def _check_table(path: Path, columns: tables.Columns, rows: np.ndarray[Any, Any], task: TaskSpec) -> None:
    """Compare the table with meta/episodes and with the task."""
    sizes = {tables.STATE: task.observation_space.size, tables.ACTION: task.action_space.size, tables.REWARD: 1}
    sizes |= {name: 1 for name in (tables.TERMINATED, tables.TRUNCATED, tables.FINAL, "episode_index", "frame_index")}
    for name, size in sizes.items():
        found = 0 if name not in columns else columns[name].reshape(len(columns[name]), -1).shape[1]
        if found != size:
            raise DataError(f"{path}: column {name!r} has {found} numbers a row, task {task.name!r} {size}; {_REMEDY}")
    held = len(columns[tables.ACTION])
    if held != rows.sum():
        short = int(np.searchsorted(np.cumsum(rows), held, side="right"))
        where = f"episode {short} is incomplete" if short < len(rows) else "rows belong to no episode"
        raise DataError(f"{path}: {held} rows, meta/episodes promises {rows.sum()}: {where}; {_REMEDY}")
    episode = np.repeat(np.arange(len(rows)), rows)
    step = np.concatenate([np.arange(count) for count in rows])
    final = step == np.repeat(rows, rows) - 1
    expected = {"episode_index": episode, "frame_index": step, tables.FINAL: final}
    for name, values in expected.items():
        wrong = np.flatnonzero(columns[name] != values)
        if len(wrong):
            row = wrong[0]
            raise DataError(f"{path}: episode {episode[row]}: column {name!r} is wrong at step {step[row]}; {_REMEDY}")
    for name, values in columns.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row = np.flatnonzero(~np.isfinite(values).reshape(held, -1).all(1))[0]
            raise DataError(f"{path}: episode {episode[row]}: {name!r} is not finite at step {step[row]}; {_REMEDY}")


def _video_places(path: Path, meta: dict[str, list[Any]], task: TaskSpec) -> tuple[tuple[int, int], ...]:
    """(video file, first frame in it) of each episode; all cameras share one clock, so the first one's hold for all."""
    if not task.cameras:
        return ((0, 0),) * len(meta["length"])
    fps, prefix = lerobot.nominal_fps(task.control_dt), f"videos/{lerobot.camera_key(task.cameras[0].name)}"
    try:
        columns = [meta[f"{prefix}/{name}"] for name in ("chunk_index", "file_index", "from_timestamp")]
    except KeyError as error:
        raise DataError(f"{path}: column {error} is missing; {_REMEDY}") from error
    return tuple(
        (chunk * lerobot.FILES_PER_CHUNK + file, round(start * fps))
        for chunk, file, start in zip(*columns, strict=True)
    )


def _check_videos(folder: Path, task: TaskSpec, rows: np.ndarray[Any, Any], places: Sequence[tuple[int, int]]) -> None:
    """Compare each video's header with the rows of the episodes in it."""
    for camera in task.cameras:
        for file in sorted({place[0] for place in places}):
            path = folder / lerobot.video_file(camera.name, file)
            inside = [index for index, place in enumerate(places) if place[0] == file]
            video = inspect_video(path)
            if (video.width, video.height) != (camera.width, camera.height):
                raise DataError(
                    f"{path}: frames of {video.width} x {video.height}, the task's camera {camera.name!r} has "
                    f"{camera.width} x {camera.height}; {_REMEDY}"
                )
            for index in inside:
                end = places[index][1] + int(rows[index])
                if end > video.frames:
                    raise DataError(
                        f"{path}: episode {index} needs frames up to {end}, the video holds {video.frames}; {_REMEDY}"
                    )
            if video.frames != sum(int(rows[index]) for index in inside):
                raise DataError(f"{path}: {video.frames} frames, more than its episodes have rows; {_REMEDY}")
