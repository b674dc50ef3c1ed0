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

from wm_gym.checks import raise_first
from wm_gym.data import faults, lerobot, tables
from wm_gym.data.foreign import is_foreign, read_foreign
from wm_gym.data.metadata import REMEDY, EpisodeRows, read_episode_rows, read_info, read_manifest, read_task
from wm_gym.data.video import read_video
from wm_gym.errors import DataError
from wm_gym.files import changed_files, missing_files
from wm_gym.types import Episode, TaskSpec


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

    def video(self, index: int, camera: str) -> Path:
        """The file that holds a camera's frames of an episode."""
        return self.folder / lerobot.video_file(camera, self._places[index][0])

    def episodes(self, indices: Sequence[int] | None = None) -> Iterator[Episode]:
        """Episodes without frames, all of them or those named, in that order."""
        for index in range(len(self)) if indices is None else indices:
            yield self.episode(index)

    def digest(self) -> str:
        """Sha256 over the hashes of all files: names this dataset wherever it lies."""
        listed = "".join(f"{name} {value}\n" for name, value in sorted(self.manifest["files"].items()))
        return hashlib.sha256(listed.encode()).hexdigest()


def open_dataset(folder: Path | str, check_videos: bool = True) -> Dataset:
    """Open a dataset folder and check it, all but the content of videos and the hashes.

    Args:
        folder: of the dataset; one that LeRobot itself wrote is read too (:mod:`wm_gym.data.foreign`).
        check_videos: False leaves their headers to who decodes them, so that bad episodes can be left out one by one.

    Raises:
        DataError: names the file, the episode where there is one, and what to do.
    """
    folder = Path(folder)
    if is_foreign(folder):
        task, manifest, listed, columns = read_foreign(folder)
        return _dataset(folder, task, manifest, listed, columns)
    manifest = read_manifest(folder)
    raise_first(DataError, missing_files(folder, manifest["files"], REMEDY))
    task = read_task(folder)
    read_info(folder)
    listed = read_episode_rows(folder / lerobot.EPISODES, task)
    columns = tables.read_table(folder / lerobot.DATA)
    raise_first(DataError, faults.table_faults(folder / lerobot.DATA, columns, listed.rows, task))
    if check_videos:
        raise_first(DataError, faults.video_faults(folder, task, listed))
    return _dataset(folder, task, manifest, listed, columns)


def verify_dataset(folder: Path | str) -> Dataset:
    """:func:`open_dataset`, then compare every file with the hash in its manifest.

    Raises:
        DataError: names the first file that differs from what was recorded.
    """
    dataset = open_dataset(folder)
    raise_first(DataError, changed_files(dataset.folder, dataset.manifest["files"], REMEDY))
    return dataset


def _dataset(
    folder: Path, task: TaskSpec, manifest: dict[str, Any], listed: EpisodeRows, columns: tables.Columns
) -> Dataset:
    return Dataset(
        folder=folder,
        task=task,
        manifest=manifest,
        lengths=listed.rows - 1,
        behaviours=listed.behaviours,
        seeds=listed.seeds,
        _columns=columns,
        _places=listed.places,
    )
