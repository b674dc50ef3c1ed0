"""Logs of an altered robot as its own computer would write them: CSV files, one for each episode, and their map.

Nothing else passes from the robot to whoever learns from it. A row holds a moment: the observation and the commands
before it, which may still be under way; the command given there and its reward; and the encoders, qpos and qvel.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from wm_gym.data.episodes import Dataset, open_dataset
from wm_gym.data.logs import ColumnMap, observation_map_of, read_logs, task_of
from wm_gym.data.writer import DatasetWriter
from wm_gym.files import file_hash, replacing, write_json
from wm_gym.physics.alteration import Alteration, make_altered
from wm_gym.physics.collect import Recipe, Recorder, Schedule
from wm_gym.physics.identification import Motion
from wm_gym.types import Episode, FloatArray, TaskSpec

MAP = "map.yaml"


def record_logs(
    task: TaskSpec,
    robot: Alteration,
    recipe: Recipe,
    memory: int,
    folder: Path,
    progress: Callable[[int], None] = lambda steps: None,
    observed: int = 0,
) -> None:
    """Let an altered robot act, and write its logs; episodes that lie there already are kept.

    Args:
        task: with a simulator, without cameras.
        robot: what nobody is told.
        recipe: who acts, for how many steps.
        memory: commands before each moment that are logged beside it.
        folder: of the CSV files, and of the map that ``datasets/import_logs.py columns=...`` reads.
        progress: told the steps that are logged, after each episode.
        observed: last commands that whoever acts observes beside the state.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = {path.stem: len(path.read_text(encoding="utf-8").splitlines()) - 2 for path in log_files(folder)}
    schedule = Schedule(recipe, kept)
    recorder = Recorder(task, recipe.policies, lambda task: make_altered(task, robot, observed))
    progress(schedule.steps())
    try:
        while (job := schedule.next()) is not None:
            episode = recorder.record(job)
            state = episode.observations[:, : task.observation_space.size]
            write_log(folder / f"{job.key}.csv", replace(episode, observations=state), memory)
            schedule.done(job, len(episode))
            progress(schedule.steps())
    finally:
        recorder.close()
    write_json(folder / MAP, asdict(column_map(task, memory)))  # which YAML reads, too


def log_files(folder: Path) -> list[Path]:
    """The logs of a folder, in order, without what a killed process was writing."""
    return sorted(folder.glob("[!.]*.csv"))


def write_log(path: Path, episode: Episode, memory: int) -> None:
    """One episode of T steps as T + 1 rows; it must hold qpos and qvel."""
    assert episode.qpos is not None and episode.qvel is not None
    actions = np.concatenate([episode.actions, np.zeros_like(episode.actions[:1])])
    columns = {
        "t": np.arange(len(episode) + 1)[:, None] * episode.control_dt,
        "x": episode.observations,
        **{f"before{back}_u": np.roll(actions, back, axis=0) for back in range(1, memory + 1)},
        "u": actions,
        "reward": np.append(episode.rewards, 0.0)[:, None],
        "terminated": np.append(episode.terminations, False)[:, None],
        "q": episode.qpos,
        "dq": episode.qvel,
    }
    for back in range(1, memory + 1):
        columns[f"before{back}_u"][:back] = 0.0  # which were rolled in from the end
    columns["terminated"] = np.roll(columns["terminated"], 1)  # it is said in the row where the task had ended
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([name for key, values in columns.items() for name in _names(key, values.shape[1])])
        writer.writerows(zip(*(_texts(column) for values in columns.values() for column in values.T), strict=True))


def column_map(task: TaskSpec, memory: int) -> ColumnMap:
    """What the columns are, for whoever learns a world model: the encoders are left out."""
    commands = _names("u", task.action_space.size)
    before = [f"before{back}_{name}" for back in range(1, memory + 1) for name in commands]
    limits = zip(commands, task.action_space.low, task.action_space.high, strict=True)
    return ColumnMap(
        state=dict.fromkeys([*_names("x", task.observation_space.size), *before], "1"),
        action=dict.fromkeys(commands, "1"),
        name=task.name,
        control_dt=task.control_dt,
        time="t",
        reward="reward",
        terminated="terminated",
        limits={name: [low, high] for name, low, high in limits},
        max_episode_steps=task.max_episode_steps,
    )


def import_logs(
    folder: Path, task: TaskSpec, memory: int, output: Path, command: str, without: Collection[str] = ()
) -> Dataset:
    """The logs as a dataset, by nothing but their map.

    Args:
        folder: of the CSV files.
        task: of which they tell.
        memory: commands before each moment that were logged beside it.
        output: folder of the dataset.
        command: that made it.
        without: behaviours that are left out: those that acted later.
    """
    columns = column_map(task, memory)
    files = [path for path in log_files(folder) if path.stem.rpartition("-")[0] not in without]
    logs = read_logs(files, columns)
    recipe = {"columns": asdict(columns), "source": [file_hash(path) for path in files]}
    robot = task_of(logs, columns, task.control_dt, observation_map_of(logs, columns))
    writer = DatasetWriter(output, robot, recipe, "CC0-1.0", {}, command)
    if writer.finished:
        return open_dataset(output)
    for path, log in zip(files, logs, strict=True):
        writer.stage(path.stem, log.episode(task.control_dt))
    return writer.finish([path.stem for path in files])


def read_motions(folder: Path, joints: tuple[int, int], commands: int) -> list[Motion]:
    """What the encoders said, for system identification.

    Args:
        folder: of the CSV files.
        joints: nq and nv of the robot.
        commands: A.
    """
    state = [*_names("q", joints[0]), *_names("dq", joints[1])]
    columns = ColumnMap(dict.fromkeys(state, "1"), dict.fromkeys(_names("u", commands), "1"), control_dt=1.0)
    logs = read_logs(log_files(folder), columns)
    return [Motion(log.states, log.actions[:-1]) for log in logs]


def _names(key: str, count: int) -> list[str]:
    return [key] if key in ("t", "reward", "terminated") else [f"{key}{number}" for number in range(count)]


def _texts(column: FloatArray) -> Sequence[str]:
    """Numbers so that reading gives them back."""
    return [repr(value) for value in column.tolist()] if column.dtype != bool else [str(int(v)) for v in column]
