"""Camera frames decoded once into memory-mapped files, with what can be wrong with them found on the way.

A fit looks at every frame dozens of times and at random, which a video cannot serve. Decoded, 50,000 frames of 64 x 64
pixels take 0.6 GB on disk and only what is read in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from wm_gym.data.episodes import Dataset
from wm_gym.data.video import inspect_video
from wm_gym.errors import DataError
from wm_gym.files import read_json, write_json
from wm_gym.types import CameraSpec, Episode, FrameArray

_SAME = 12  # levels of 255: what encoding alone changes in a pixel of a still picture
_FROZEN_STEPS = 10  # a shorter stand-still is no proof
REMEDY = "skip_bad=true leaves it out"


@dataclass(frozen=True)
class FrameCache:
    """Decoded frames of the episodes of a dataset."""

    frames: Mapping[str, FrameArray]
    """Camera name -> (rows of all episodes, H, W, 3) uint8, on disk until it is read."""
    first_rows: np.ndarray
    """(N+1,) where the rows of each episode begin, and the end of the last."""
    bad: Mapping[int, str]
    """Episodes that cannot be used, and why: nothing of them may be read."""

    def rows(self, episodes: Sequence[int]) -> np.ndarray:
        """The row numbers of these episodes, one after the other."""
        return np.concatenate([np.arange(self.first_rows[i], self.first_rows[i + 1]) for i in episodes])

    def of(self, episode: int) -> dict[str, FrameArray]:
        """The frames of one episode: camera name -> (T+1, H, W, 3). Black throughout where it was not recorded."""
        first, last = self.first_rows[episode : episode + 2]
        return {name: frames[first:last] for name, frames in self.frames.items()}


def cache_frames(
    dataset: Dataset,
    cameras: Sequence[str],
    folder: Path,
    skip_bad: bool = False,
    progress: Callable[[int], None] = lambda episodes: None,
) -> FrameCache:
    """Decode the videos of these cameras into ``folder``, unless an earlier call has done so.

    LeRobot wants a frame for every row: a camera that was missing in an episode is black there throughout.

    Args:
        dataset: what to decode.
        cameras: names.
        folder: gets one file for each camera; it is the caller's to remove.
        skip_bad: leave bad episodes out instead of raising.
        progress: told the number of finished episodes.

    Raises:
        DataError: a video is damaged or its frames do not match the table, a camera is frozen, or no good episode is
            left; names the episode.
    """
    first_rows = np.concatenate([[0], np.cumsum(dataset.lengths + 1)])
    record, identity = folder / "frames.json", {"dataset": dataset.digest(), "cameras": list(cameras)}
    kept = read_json(record) if record.exists() else {}
    if kept.get("identity") == identity:
        bad = {int(index): str(reason) for index, reason in kept["bad"].items()}
        progress(len(dataset))
    else:
        bad = _decode(dataset, cameras, folder, skip_bad, first_rows, progress)
        write_json(record, {"identity": identity, "bad": {str(index): reason for index, reason in bad.items()}})
    if bad and not skip_bad:
        raise DataError(f"{next(iter(bad.values()))}; {REMEDY}")
    if len(bad) == len(dataset):
        raise DataError(f"{dataset.folder}: no episode has usable frames; the first: {bad[0]}")
    return FrameCache({name: np.load(_file(folder, name), mmap_mode="r") for name in cameras}, first_rows, bad)


def _decode(
    dataset: Dataset,
    cameras: Sequence[str],
    folder: Path,
    skip_bad: bool,
    first_rows: np.ndarray,
    progress: Callable[[int], None],
) -> dict[int, str]:
    """Fill the files; what is bad is returned, or raised at once."""
    folder.mkdir(parents=True, exist_ok=True)
    bad = _unequal_videos(dataset, cameras)
    size = {camera.name: (int(first_rows[-1]), camera.height, camera.width, 3) for camera in dataset.task.cameras}
    files = {
        name: np.lib.format.open_memmap(_file(folder, name), mode="w+", dtype=np.uint8, shape=size[name])
        for name in cameras
    }
    spread = np.concatenate([episode.observations for episode in dataset.episodes()]).std(0)
    for index in range(len(dataset)):
        if index not in bad:
            try:
                episode = dataset.episode(index, cameras)
            except DataError as error:
                bad[index] = str(error)
            else:
                if reason := frozen_camera(episode, spread):
                    bad[index] = f"{dataset.folder}: episode {index}: {reason}"
                for name, frames in episode.frames.items():
                    files[name][first_rows[index] : first_rows[index + 1]] = frames
        if index in bad and not skip_bad:
            raise DataError(f"{bad[index]}; {REMEDY}")
        progress(index + 1)
    for file in files.values():
        file.flush()
    return dict(sorted(bad.items()))


def check_same_views(dataset: Dataset, cameras: Sequence[CameraSpec]) -> None:
    """Refuse a recording whose cameras look from elsewhere than a model's.

    Raises:
        DataError: one of ``cameras`` is missing in it, or was placed otherwise.
    """
    recorded = {camera.name: asdict(camera) for camera in dataset.task.cameras}
    for camera in cameras:
        if camera.name not in recorded:
            raise DataError(f"{dataset.folder}: no camera {camera.name!r}, which the model sees")
        for name, value in asdict(camera).items():
            if recorded[camera.name][name] != value:
                raise DataError(
                    f"{dataset.folder}: camera {camera.name!r} was recorded with {name}={recorded[camera.name][name]}, "
                    f"the model sees with {value}: record it anew with the model's own (its config.json)"
                )


def frozen_camera(episode: Episode, spread: np.ndarray) -> str:
    """Which camera stands still until the episode's end while the robot moves, in words; empty if none does.

    Args:
        episode: with its frames. A camera that is black throughout was not recorded, and is not frozen.
        spread: (S,) standard deviation of the state observation in the dataset. Where no state was recorded, actions
            that change by half of their own range must do as a sign of movement.
    """
    for name, frames in episode.frames.items():
        if not frames.any():
            continue
        same = (np.abs(frames.astype(np.int16) - frames[-1]) <= _SAME).all((1, 2, 3))
        still = len(episode) if same.all() else int(np.argmin(same[::-1])) - 1
        if still < _FROZEN_STEPS:
            continue
        if episode.observations.shape[1]:
            moved = np.ptp(episode.observations[-still - 1 :], axis=0) > np.maximum(spread, 1e-9)
        else:
            moved = np.ptp(episode.actions[-still:], axis=0) > 0.5 * np.maximum(np.ptp(episode.actions, axis=0), 1e-9)
        if moved.any():
            return f"camera {name!r} is frozen for its last {still} steps while the robot moves"
    return ""


def _unequal_videos(dataset: Dataset, cameras: Sequence[str]) -> dict[int, str]:
    """The episodes of every video that cannot be opened or has another size than its camera, or other frames than rows.

    Where one frame is too few or too many nobody knows which, so that all episodes of the file are in doubt.
    """
    bad: dict[int, str] = {}
    sizes = {camera.name: (camera.width, camera.height) for camera in dataset.task.cameras}
    for name in cameras:
        inside: dict[Path, list[int]] = {}
        for index in range(len(dataset)):
            inside.setdefault(dataset.video(index, name), []).append(index)
        for path, episodes in inside.items():
            rows = int((dataset.lengths[episodes] + 1).sum())
            try:
                video = inspect_video(path)
            except DataError as error:
                reason = str(error)
            else:
                reason = f"{path}: {video.frames} frames, the table has {rows} rows" if video.frames != rows else ""
                if (video.width, video.height) != sizes[name]:
                    shapes = [f"{width} x {height}" for width, height in ((video.width, video.height), sizes[name])]
                    reason = f"{path}: frames of {shapes[0]} pixels, camera {name!r} has {shapes[1]}"
            if reason:
                bad |= {index: f"episode {index}: {reason}" for index in episodes}
    return bad


def _file(folder: Path, camera: str) -> Path:
    return folder / f"{camera}.npy"
