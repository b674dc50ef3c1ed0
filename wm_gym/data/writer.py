"""Write a dataset: episodes are staged one by one, then joined into a LeRobotDataset folder by one rename.

    outputs/data.staging/       while recording
        recording.json          what is recorded; another recording is refused
        KEY/                    a staged episode: episode.json, episode.parquet, CAMERA.mp4
        .partial-PID-KEY/       an episode that process PID is writing, or was writing when it was killed
        .joined/                the dataset while it is being joined
    outputs/data/               the dataset, once everything is in it

A kill at any moment leaves either the staged episodes or the dataset.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa

from wm_gym.data import lerobot, tables
from wm_gym.data.episodes import Dataset, open_dataset
from wm_gym.data.metadata import MANIFEST, SCHEMA_VERSION, TASK
from wm_gym.data.video import join_videos, write_video
from wm_gym.errors import DataError
from wm_gym.files import file_hash, flush, flush_tree, process_is_alive, read_json, write_json
from wm_gym.types import Episode, TaskSpec

_DAMAGED = (pa.ArrowException, ValueError, TypeError, KeyError, IndexError, AttributeError)
"""All the ways in which joining fails on a staged episode that is not what was written."""
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


class DatasetWriter:
    """Stages episodes and joins them. Several processes may hold a writer of one folder and stage different keys."""

    def __init__(
        self,
        folder: Path | str,
        task: TaskSpec,
        recipe: Mapping[str, Any],
        licence: str,
        versions: Mapping[str, str],
        command: str,
    ) -> None:
        """Begin a recording, or go on with the one that is staged.

        Args:
            folder: of the dataset; what is staged lies beside it in ``folder.staging``.
            task: what is recorded.
            recipe: plain values that determine the episodes (``seed`` among them); a recording goes on only under the
                same task, recipe and versions.
            licence: of the data.
            versions: of what produced the episodes (``{"mujoco": "3.12.0"}``); our own libraries' are added.
            command: that makes this dataset.

        Raises:
            DataError: another recording is in the way, or the task cannot be stored.
        """
        self.folder, self.task = Path(folder), task
        self._staging = self.folder.with_name(self.folder.name + ".staging")
        self._licence, self._command = licence, command
        self._recording = _plain({"task": task.to_dict(), "recipe": dict(recipe), "versions": dict(versions)})
        self._check_task()
        if self.finished:
            self._check_same_as_finished()
        else:
            self._begin_or_resume()

    @property
    def finished(self) -> bool:
        """Whether the folder holds the complete dataset."""
        return (self.folder / MANIFEST).exists()

    def staged(self) -> dict[str, int]:
        """Key -> steps of every staged episode. What a killed process left half-written is removed."""
        if not self._staging.is_dir():
            return {}
        found = {}
        for path in sorted(self._staging.iterdir()):
            partial = re.match(r"\.partial-(\d+)-", path.name)
            if partial and not process_is_alive(int(partial[1])):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif path.is_dir() and not path.name.startswith("."):
                found[path.name] = int(self._facts(path.name)["steps"])
        return found

    def stage(self, key: str, episode: Episode) -> None:
        """Store one episode; it is there whole when this returns.

        Raises:
            DataError: it does not fit the task, is not finite, or the key is taken.
        """
        self._refuse_when_finished()
        if not _KEY.fullmatch(key):
            raise DataError(f"episode key {key!r}: use letters, digits, '_', '-' and '.'")
        tables.check_episode(f"episode {key!r}", episode, self.task)
        if (self._staging / key).exists():
            raise DataError(f"episode {key!r} is staged already; discard it first")
        fps = lerobot.nominal_fps(self.task.control_dt)
        partial = self._staging / f".partial-{os.getpid()}-{key}"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            tables.write_table(partial / "episode.parquet", tables.columns_of(episode, fps))
            for camera, frames in episode.frames.items():
                write_video(partial / f"{camera}.mp4", frames, fps)
            facts = {
                "steps": len(episode),
                "behaviour": episode.behaviour,
                "seed": int(episode.seed),
                "cameras": {name: lerobot.describe_frames(frames) for name, frames in episode.frames.items()},
            }
            write_json(partial / "episode.json", facts)
            flush_tree(partial)
            partial.rename(self._staging / key)
            flush(self._staging)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def load_staged(self, key: str) -> Episode:
        """The numbers of a staged episode, without its frames."""
        facts = self._facts(key)
        columns = self._columns(key, facts["steps"])
        return tables.episode_of(columns, self.task.control_dt, facts["behaviour"], facts["seed"], {})

    def discard(self, key: str) -> None:
        """Remove a staged episode, if there is one."""
        gone = self._staging / f".partial-{os.getpid()}-discarded-{key}"
        if (self._staging / key).exists():
            (self._staging / key).rename(gone)  # a kill halfway must not leave half an episode under its key
            shutil.rmtree(gone)

    def finish(self, keys: Sequence[str]) -> Dataset:
        """Join staged episodes, in this order, into the dataset; staged episodes that are not named are dropped.

        Raises:
            DataError: a key is not staged or given twice, or episodes disagree on what was recorded of them.
        """
        self._refuse_when_finished()
        staged = self.staged()
        missing = [key for key in keys if key not in staged]
        if missing or not keys or len(set(keys)) != len(keys):
            raise DataError(
                f"{self.folder}: cannot join {len(keys)} episodes ({len(set(keys))} different); "
                f"not staged: {missing[:3] or 'none'} of {len(missing)}"
            )
        joined = self._staging / ".joined"
        shutil.rmtree(joined, ignore_errors=True)
        facts = [self._facts(key) for key in keys]
        rows = [fact["steps"] + 1 for fact in facts]
        places = lerobot.assign_video_files(rows, lerobot.nominal_fps(self.task.control_dt))
        try:
            columns = self._join_tables(keys, rows)
            self._join_videos(joined, keys, places)
            self._write_meta(joined, keys, facts, columns, places)
        except _DAMAGED as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            remedy = f"delete {self._staging} to record anew"
            raise DataError(f"{self._staging}: a staged episode is damaged ({reason}); {remedy}") from error
        open_dataset(joined)  # what cannot be read is never put in place of the episodes that it was made of
        flush_tree(joined)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        joined.rename(self.folder)
        flush(self.folder.parent)
        shutil.rmtree(self._staging)
        return open_dataset(self.folder)

    def _facts(self, key: str) -> dict[str, Any]:
        """What is known of a staged episode beside its rows and frames."""
        path = self._staging / key / "episode.json"
        facts = read_json(path)
        kinds = {"steps": int, "behaviour": str, "seed": int, "cameras": dict}
        wrong = [name for name, kind in kinds.items() if not isinstance(facts.get(name), kind)]
        if wrong or facts["steps"] < 1 or set(facts["cameras"]) != {camera.name for camera in self.task.cameras}:
            raise DataError(f"{path}: damaged ({', '.join(wrong) or 'steps or cameras'}); {self._discard_remedy(key)}")
        return facts

    def _columns(self, key: str, steps: int) -> tables.Columns:
        """The rows of a staged episode."""
        path = self._staging / key / "episode.parquet"
        columns = tables.read_table(path)
        needed = {tables.ACTION, tables.REWARD, tables.TERMINATED, tables.TRUNCATED, tables.FINAL}
        numbers = all(values.dtype.kind in "fiub" for values in columns.values())
        if not needed <= columns.keys() or len(columns[tables.ACTION]) != steps + 1 or not numbers:
            raise DataError(f"{path}: damaged: not the {steps + 1} rows of an episode; {self._discard_remedy(key)}")
        return columns

    def _discard_remedy(self, key: str) -> str:
        return f"delete {self._staging / key}, and the same command records it again"

    def _join_tables(self, keys: Sequence[str], rows: Sequence[int]) -> tables.Columns:
        """All rows of the dataset, with the columns that number them."""
        parts = [self._columns(key, count - 1) for key, count in zip(keys, rows, strict=True)]
        for key, part in zip(keys, parts, strict=True):
            first = {name: values.shape[1:] for name, values in parts[0].items()}
            if {name: values.shape[1:] for name, values in part.items()} != first:
                raise DataError(f"episode {key!r} recorded {sorted(part)}, episode {keys[0]!r} {sorted(parts[0])}")
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        columns["episode_index"] = np.repeat(np.arange(len(keys)), rows)
        columns["index"] = np.arange(sum(rows))
        columns["task_index"] = np.zeros(sum(rows), np.int64)
        return columns

    def _join_videos(self, joined: Path, keys: Sequence[str], places: Sequence[tuple[int, int]]) -> None:
        for camera in self.task.cameras:
            for file in range(places[-1][0] + 1):
                parts = [key for key, place in zip(keys, places, strict=True) if place[0] == file]
                sources = [self._staging / key / f"{camera.name}.mp4" for key in parts]
                join_videos(sources, joined / lerobot.video_file(camera.name, file))

    def _write_meta(
        self,
        joined: Path,
        keys: Sequence[str],
        facts: Sequence[Mapping[str, Any]],
        columns: tables.Columns,
        places: Sequence[tuple[int, int]],
    ) -> None:
        """Write the table and everything in meta/, the manifest last: it hashes all the rest."""
        tables.write_table(joined / lerobot.DATA, columns)
        rows, first_row = [], 0
        for index, (key, fact, place) in enumerate(zip(keys, facts, places, strict=True)):
            last_row = first_row + fact["steps"] + 1
            part = {name: values[first_row:last_row] for name, values in columns.items()}
            described = {name: lerobot.describe_numbers(values) for name, values in part.items()}
            described |= {lerobot.camera_key(camera): stats for camera, stats in fact["cameras"].items()}
            row = lerobot.episode_row(index, self.task, first_row, fact["steps"] + 1, place, described)
            row |= {"recording_key": key, "behaviour": fact["behaviour"], "seed": fact["seed"]}
            row |= {name: bool(part[f"next.{name}"].any()) for name in ("terminated", "truncated")}
            rows.append(row)
            first_row = last_row
        statistics = {name: lerobot.describe_numbers(values) for name, values in columns.items()}
        for camera in self.task.cameras:
            parts = [fact["cameras"][camera.name] for fact in facts]
            statistics[lerobot.camera_key(camera.name)] = lerobot.pool_statistics(parts)
        lerobot.write_episode_rows(joined / lerobot.EPISODES, rows)
        lerobot.write_tasks(joined / lerobot.TASKS, self.task.name)
        write_json(joined / lerobot.INFO, lerobot.dataset_info(self.task, columns, len(keys)))
        write_json(joined / lerobot.STATS, statistics)
        write_json(joined / TASK, self.task.to_dict())
        write_json(joined / MANIFEST, self._manifest(joined, [fact["behaviour"] for fact in facts]))

    def _manifest(self, joined: Path, behaviours: Sequence[str]) -> dict[str, Any]:
        files = sorted(path for path in joined.rglob("*") if path.is_file())
        recipe = self._recording["recipe"]
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "dataset",
            "licence": self._licence,
            "command": self._command,
            "seed": recipe.get("seed"),
            "recipe": recipe,
            "provenance": {"env_id": self.task.env_id, "robot": self.task.name, "platform": platform.platform()},
            "versions": {**_own_versions(), **self._recording["versions"]},
            "behaviours": list(behaviours),
            "files": {path.relative_to(joined).as_posix(): file_hash(path) for path in files},
        }

    def _check_task(self) -> None:
        if not self.task.control_dt > 0 or self.task.action_space.size < 1:
            raise DataError(f"task {self.task.name!r}: needs a positive control_dt and at least one action")
        for camera in self.task.cameras:
            if not _KEY.fullmatch(camera.name):
                raise DataError(f"camera name {camera.name!r}: use letters, digits, '_', '-' and '.'")
            if camera.width % 2 or camera.height % 2:
                raise DataError(
                    f"camera {camera.name!r}: video needs an even width and height, "
                    f"not {camera.width} x {camera.height}"
                )
        if len({camera.name for camera in self.task.cameras}) != len(self.task.cameras):
            raise DataError(f"task {self.task.name!r}: two cameras have the same name")

    def _check_same_as_finished(self) -> None:
        held = {"task": read_json(self.folder / TASK), "recipe": read_json(self.folder / MANIFEST).get("recipe")}
        difference = _first_difference(held, {name: self._recording[name] for name in held})
        if difference:
            raise DataError(
                f"{self.folder} holds a dataset of another recording ({difference}); "
                "choose another output, or delete the folder"
            )
        shutil.rmtree(self._staging, ignore_errors=True)  # left where a kill fell between the rename and the clean-up

    def _begin_or_resume(self) -> None:
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise DataError(f"{self.folder} exists and is not a dataset; choose another output, or delete it")
        record = self._staging / "recording.json"
        if not record.exists():
            write_json(record, self._recording)
        difference = _first_difference(read_json(record), self._recording)
        if difference:
            raise DataError(
                f"{self._staging} holds unfinished episodes of another recording ({difference}); "
                "repeat the first command to finish it, choose another output, or delete that folder to start anew"
            )

    def _refuse_when_finished(self) -> None:
        if self.finished:
            raise DataError(f"{self.folder} is complete already; choose another output, or delete it to record anew")


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """What remains after JSON, so that a value compares equal to itself read back."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise DataError(f"task, recipe and versions must be plain finite values ({error})") from error
    return plain


def _first_difference(old: Any, new: Any, place: str = "") -> str:
    """``recipe.seed was 0 and is 1``; empty if equal."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(set(old) | set(new)):
            difference = _first_difference(old.get(key), new.get(key), f"{place}.{key}" if place else key)
            if difference:
                return difference
        return ""
    return "" if old == new else f"{place} was {old!r} and is {new!r}"


def _own_versions() -> dict[str, str]:
    try:
        ours = importlib.metadata.version("wm_gym")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        ours = "unknown"
    return {
        "wm_gym": ours,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "av": av.__version__,
        "pyarrow": pa.__version__,
    }
