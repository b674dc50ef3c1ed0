"""What can be wrong with a recording whose files can be read: each fault with the episode and the step.

Every function yields all that it finds, one line each. :func:`~wm_gym.data.episodes.open_dataset` raises the first;
``python -m wm_gym.verify`` lists them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wm_gym.data import lerobot, tables
from wm_gym.data.metadata import REMEDY, EpisodeRows
from wm_gym.data.video import frame_times, inspect_video
from wm_gym.errors import DataError
from wm_gym.types import TaskSpec

_FLAGS = (tables.TERMINATED, tables.TRUNCATED, tables.FINAL)
_NUMBERS = ("episode_index", "frame_index")
_KINDS = {
    "b": (*_FLAGS, tables.DONE),
    "iu": (*_NUMBERS, "index", "task_index"),
    "f": (tables.STATE, tables.ACTION, tables.REWARD, tables.QPOS, tables.QVEL, "timestamp"),
}
"""Kind of number -> columns that must be of it."""
_SPARED = (tables.DONE, "timestamp", "index", "task_index")  # LeRobot's own, which nothing here needs


def table_faults(path: Path, columns: tables.Columns, rows: np.ndarray[Any, Any], task: TaskSpec) -> Iterator[str]:
    """Compare the table with the list of episodes (``rows`` of each) and with the task."""
    shape = list(_shape_faults(path, columns, task))
    yield from shape
    held, promised = len(columns.get("episode_index", ())), sum(int(count) for count in rows)
    if not shape and held != promised:
        short = int(np.searchsorted(np.cumsum(rows), held, side="right"))
        where = f"episode {short} is incomplete" if short < len(rows) else "rows belong to no episode"
        yield f"{path}: {held} rows, meta/episodes promises {promised}: {where}; {REMEDY}"
    elif not shape:
        episode = np.repeat(np.arange(len(rows)), rows)
        step = np.concatenate([np.arange(count) for count in rows])
        final = step == np.repeat(rows, rows) - 1
        expected: tables.Columns = {"episode_index": episode, "frame_index": step, tables.FINAL: final}
        for name, values in expected.items():
            yield from _first(path, episode, step, columns[name] != values, f"column {name!r} is wrong")
        for name, values in columns.items():
            if values.dtype.kind == "f":
                wrong = ~np.isfinite(values).reshape(held, -1).all(1)
                yield from _first(path, episode, step, wrong, f"{name!r} is not finite")


def _shape_faults(path: Path, columns: tables.Columns, task: TaskSpec) -> Iterator[str]:
    """Which columns are missing, or of another width or kind."""
    sizes = {tables.STATE: task.observation_space.size, tables.ACTION: task.action_space.size, tables.REWARD: 1}
    sizes |= dict.fromkeys((*_FLAGS, *_NUMBERS, *(name for name in _SPARED if name in columns)), 1)
    for name, size in sizes.items():
        found = 0 if name not in columns else int(np.prod(columns[name].shape[1:]))
        if found != size:
            yield f"{path}: column {name!r} has {found} numbers a row, task {task.name!r} {size}; {REMEDY}"
    for name, values in columns.items():
        kind = next((kind for kind, names in _KINDS.items() if name in names), "fiub")
        if values.dtype.kind not in kind:
            yield f"{path}: column {name!r} holds {values.dtype}; {REMEDY}"


def clock_faults(path: Path, columns: tables.Columns, fps: int) -> Iterator[str]:
    """Compare the times and the ends of episodes with what the rows say; the table itself is without fault."""
    episode, step, final = columns["episode_index"], columns["frame_index"], columns[tables.FINAL]
    last = np.append(final[1:], False)  # the last action of an episode is in the row before its final one
    ended = columns[tables.TERMINATED] | columns[tables.TRUNCATED]
    wrong = {
        f"{tables.TERMINATED!r} or {tables.TRUNCATED!r} before the last step": ended & ~last,
        f"neither {tables.TERMINATED!r} nor {tables.TRUNCATED!r} at the last step": last & ~ended,
        "an action or a reward where the episode is over": final & _any(columns, tables.ACTION, tables.REWARD),
    }
    if "timestamp" in columns:
        wrong["'timestamp' is not the step's"] = ~np.isclose(columns["timestamp"], step / fps, rtol=1e-5, atol=1e-4)
    if tables.DONE in columns:
        wrong[f"{tables.DONE!r} is not {tables.TERMINATED!r} or {tables.TRUNCATED!r}"] = columns[tables.DONE] != ended
    if "index" in columns:
        wrong["'index' does not count the rows"] = columns["index"] != np.arange(len(step))
    for words, rows in wrong.items():
        yield from _first(path, episode, step, rows, words)


def video_faults(folder: Path, task: TaskSpec, listed: EpisodeRows) -> Iterator[str]:
    """Compare each video's header with the rows of the episodes in it."""
    for camera in task.cameras:
        for file in sorted({place[0] for place in listed.places}):
            path = folder / lerobot.video_file(camera.name, file)
            try:
                video = inspect_video(path)
            except DataError as error:
                yield str(error)
                continue
            if (video.width, video.height) != (camera.width, camera.height):
                yield (
                    f"{path}: frames of {video.width} x {video.height}, the task's camera {camera.name!r} has "
                    f"{camera.width} x {camera.height}; {REMEDY}"
                )
            yield from _length_faults(path, file, video.frames, listed)


def _length_faults(path: Path, file: int, frames: int, listed: EpisodeRows) -> Iterator[str]:
    inside = [index for index, place in enumerate(listed.places) if place[0] == file]
    for index in inside:
        end = listed.places[index][1] + int(listed.rows[index])
        if end > frames:
            yield f"{path}: episode {index} needs frames up to {end}, the video holds {frames}; {REMEDY}"
            return
    if frames != sum(int(listed.rows[index]) for index in inside):
        yield f"{path}: {frames} frames, more than its episodes have rows; {REMEDY}"


def frame_faults(path: Path, fps: int) -> Iterator[str]:
    """Decode every frame of a video and compare its time with the frame's number."""
    frames, late = 0, False
    try:
        for number, time in enumerate(frame_times(path)):
            if time * fps != number and not late:
                yield f"{path}: frame {number} is at {float(time):.6f} s, not at {number / fps:.6f} s; {REMEDY}"
                late = True
            frames = number + 1
        promised = inspect_video(path).frames
    except DataError as error:
        yield f"{error} (after {frames} good frames)"
        return
    if frames != promised:
        yield f"{path}: {frames} frames can be decoded, its header promises {promised}; {REMEDY}"


def _any(columns: tables.Columns, *names: str) -> np.ndarray[Any, Any]:
    """(rows,) whether a value of these columns is not zero."""
    values = np.concatenate([columns[name].reshape(len(columns[name]), -1) for name in names], axis=1)
    return np.asarray(np.any(values != 0, axis=1))


def _first(
    path: Path,
    episode: np.ndarray[Any, Any],
    step: np.ndarray[Any, Any],
    wrong: Any,
    words: str,
) -> Iterator[str]:
    """One line for all rows in which something is wrong: the first of them, and how many there are."""
    rows: Sequence[int] = np.flatnonzero(wrong).tolist()
    if rows:
        more = f", and in {len(rows) - 1} rows more" if len(rows) > 1 else ""
        yield f"{path}: episode {episode[rows[0]]}: {words} at step {step[rows[0]]}{more}; {REMEDY}"
