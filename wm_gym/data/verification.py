"""Everything that can be checked of a dataset, one check after the other; none hides what the next would find."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wm_gym.checks import Check, attempt, check_files, check_provenance, not_looked_at
from wm_gym.data import faults, lerobot, tables
from wm_gym.data.metadata import (
    MANIFEST,
    REMEDY,
    EpisodeRows,
    read_episode_rows,
    read_info,
    read_manifest,
    read_task,
)
from wm_gym.files import read_json
from wm_gym.types import TaskSpec

_WANTED = ("licence", "command", "provenance", "versions.wm_gym")


def check_dataset(folder: Path) -> Iterator[Check]:
    """Hashes, provenance, task, episodes, table, clock, statistics and every frame of a dataset."""
    manifest, check = attempt("manifest", partial(read_manifest, folder), lambda m: f"schema {m['schema_version']}")
    yield check
    if manifest is not None:
        yield check_files(folder, manifest["files"], (MANIFEST, "result.json"), REMEDY)
        yield check_provenance(folder / MANIFEST, manifest, _WANTED, "write it there, or record again")
    task, check = attempt("task", partial(read_task, folder), lambda t: f"{t.name}, {1 / t.control_dt:.4g} Hz")
    yield check
    if task is None:
        yield not_looked_at("episodes, table, frames", "task")
        return
    path = folder / lerobot.EPISODES
    listed, check = attempt("episodes", partial(read_episode_rows, path, task), _count)
    yield check
    if listed is None:
        yield not_looked_at("table, frames", "list of episodes")
        return
    yield _check_info(folder, listed, task)
    yield from _check_table(folder, listed, task)
    yield Check("videos", f"{len(task.cameras)} cameras", tuple(faults.video_faults(folder, task, listed)))
    for camera in task.cameras:
        yield _check_frames(folder, camera.name, listed, task)


def _count(listed: EpisodeRows) -> str:
    return f"{len(listed.rows)} episodes, {int(listed.rows.sum()) - len(listed.rows)} steps"


def _check_info(folder: Path, listed: EpisodeRows, task: TaskSpec) -> Check:
    """LeRobot's totals against the list of episodes."""
    place = folder / lerobot.INFO
    info, check = attempt("info", partial(read_info, folder), lambda i: f"LeRobot {i['codebase_version']}")
    if info is None:
        return check
    expected = {
        "total_episodes": len(listed.rows),
        "total_frames": int(listed.rows.sum()),
        "fps": lerobot.nominal_fps(task.control_dt),
    }
    wrong = [name for name, value in expected.items() if info.get(name) != value]
    found = tuple(f"{place}: {n!r} is {info.get(n)!r}, {expected[n]} is counted; {REMEDY}" for n in wrong)
    return Check("info", check.found, found)


def _check_table(folder: Path, listed: EpisodeRows, task: TaskSpec) -> Iterator[Check]:
    """The table's own checks, then what needs a table without fault."""
    path = folder / lerobot.DATA
    columns, check = attempt("table", lambda: tables.read_table(path), lambda c: f"{len(c)} columns")
    if columns is None:
        yield check
        return
    found = tuple(faults.table_faults(path, columns, listed.rows, task))
    yield Check("table", f"{check.found}: shapes, order, all finite", found)
    if found:
        yield not_looked_at("clock, statistics", "table")
        return
    fps = lerobot.nominal_fps(task.control_dt)
    yield Check("clock", "times and ends of episodes", tuple(faults.clock_faults(path, columns, fps)))
    yield _check_statistics(folder / lerobot.STATS, columns)


def _check_statistics(path: Path, columns: tables.Columns) -> Check:
    """Minimum, maximum and mean of every column against the rows."""
    stats, check = attempt("statistics", partial(read_json, path), lambda s: f"of {len(s)} features")
    if stats is None:
        return check
    wrong = [name for name, values in columns.items() if not _agree(stats.get(name), values)]
    return Check(
        "statistics", check.found, tuple(f"{path}: {name!r} is not what the table has; {REMEDY}" for name in wrong)
    )


def _agree(stated: Any, values: np.ndarray[Any, Any]) -> bool:
    counted = lerobot.describe_numbers(values)
    try:
        return all(np.allclose(stated[name], counted[name], rtol=1e-4, atol=1e-6) for name in ("min", "max", "mean"))
    except (TypeError, KeyError, ValueError):
        return False


def _check_frames(folder: Path, camera: str, listed: EpisodeRows, task: TaskSpec) -> Check:
    """Every frame of a camera, decoded; what is wrong with a video's header is found before."""
    fps, found = lerobot.nominal_fps(task.control_dt), []
    for file in sorted({place[0] for place in listed.places}):
        path = folder / lerobot.video_file(camera, file)
        if path.is_file():
            found += list(faults.frame_faults(path, fps))
    return Check(f"frames of {camera}", f"{int(listed.rows.sum())} frames, decoded, each at its time", tuple(found))
