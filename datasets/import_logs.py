"""Turn a robot's own logs, CSV files or a folder of LeRobot's, into a dataset: no simulator is needed.

python datasets/import_logs.py source='logs/*.csv' columns=map.yaml output=outputs/robot/data

The map says which column is what, and in which unit:

    time: stamp
    time_unit: ms
    state: {q1: deg, dq1: deg/s}
    action: {u1: Nm}
    reward: reward          # optional; so are terminated, episode, control_dt, limits, unbounded, name
"""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from glob import glob
from pathlib import Path
from typing import Any

from tqdm import tqdm

from wm_gym.config import REQUIRED, read_settings, run_program
from wm_gym.data.alignment import LAGS, Alignment, find_alignment
from wm_gym.data.clock import Clock
from wm_gym.data.episodes import Dataset, open_dataset
from wm_gym.data.foreign import foreign_logs, is_foreign
from wm_gym.data.logs import (
    ColumnMap,
    Log,
    log_faults,
    observation_map_of,
    period,
    read_logs,
    resampled,
    shifted,
    task_of,
)
from wm_gym.data.writer import DatasetWriter
from wm_gym.errors import ConfigError, DataError
from wm_gym.files import file_hash, write_json

SHOWN = 20
"""Faults that are listed; there may be one in every row."""


@dataclass
class ImportConfig:
    """Settings of an import."""

    source: str = field(
        default=REQUIRED, metadata={"help": "a CSV, a quoted pattern of CSVs, or a folder of LeRobot's"}
    )
    output: str = field(default=REQUIRED, metadata={"help": "dataset folder to write"})
    columns: str | None = field(default=None, metadata={"help": "YAML file: which column is what; for CSV only"})
    tolerance: float = field(default=0.1, metadata={"help": "jitter allowed, as a share of the control period"})
    resample: bool = field(default=False, metadata={"help": "interpolate to a fixed period: mends jitter, short gaps"})
    cut_gaps: bool = field(default=False, metadata={"help": "with resample: a longer gap ends the episode"})
    shift_actions: int | None = field(
        default=None,
        metadata={"help": "-1 or 1 moves actions by a row, 0 says that they are right; null: refuse doubt"},
    )
    licence: str = field(default="", metadata={"help": "of the logs; fitting to logs without one asks for a yes"})


def main(config: ImportConfig) -> None:
    """Turn a robot's own logs, CSV files or a folder of LeRobot's, into a dataset: no simulator is needed."""
    if config.shift_actions not in (None, *LAGS):
        raise ConfigError(f"shift_actions={config.shift_actions}: -1, 0 or 1")
    if not 0 < config.tolerance < 0.5:
        raise ConfigError(f"tolerance={config.tolerance}: a share between 0 and 0.5 of the control period")
    if config.cut_gaps and not config.resample:
        raise ConfigError("cut_gaps=true: only together with resample=true")
    files, columns, logs = _read(config)
    dt = period(logs, columns)
    clock = Clock(dt, config.tolerance)
    refuse(config, list(log_faults(logs, columns, clock, config.resample, config.cut_gaps)))
    described = observation_map_of(logs, columns)
    if config.resample:
        logs = resampled(logs, dt, described)
    found = find_alignment([log.states for log in logs], [log.actions for log in logs])
    refuse(config, _misaligned(found, config.shift_actions))
    logs = [shifted(log, config.shift_actions or 0) for log in logs]
    logs = [log for log in logs if len(log.stamps) >= 2]
    task = task_of(logs, columns, dt, described)
    writer = DatasetWriter(
        config.output, task, _recipe(config, columns, files), config.licence, {}, shlex.join(["python", *sys.argv])
    )
    if writer.finished:
        print(f"{config.output} is already complete: nothing to import")
        dataset = open_dataset(config.output)
    else:
        keys = [f"logged-{number:06d}" for number in range(len(logs))]
        staged = writer.staged()
        for key, log in zip(keys, tqdm(logs, desc="import", unit="episode"), strict=True):
            if key not in staged:
                writer.stage(key, log.episode(dt))
        dataset = writer.finish(keys)
    conclude(dataset, columns, found)


def _read(config: ImportConfig) -> tuple[list[Path], ColumnMap, list[Log]]:
    """The files, what is in them, and their episodes."""
    folder = Path(config.source)
    if is_foreign(folder):
        if config.columns is not None:
            raise ConfigError("columns=...: a folder of LeRobot's names its own columns; leave it out")
        columns, logs = foreign_logs(folder)
        return [folder / "meta/info.json", *sorted(folder.glob("data/chunk-*/*.parquet"))], columns, logs
    files = [Path(name) for name in sorted(glob(config.source))]
    if not files or not all(path.is_file() for path in files):
        raise DataError(f"source={config.source}: no CSV file there, and no folder of LeRobot's; quote a pattern")
    if config.columns is None:
        raise ConfigError("columns=MAP.yaml must be given: it says which column is what (--help shows one)")
    columns = read_settings(ColumnMap, Path(config.columns))
    return files, columns, read_logs(files, columns)


def _recipe(config: ImportConfig, columns: ColumnMap, files: Sequence[Path]) -> dict[str, Any]:
    """What determines the episodes."""
    settings = {name: getattr(config, name) for name in ("tolerance", "resample", "cut_gaps", "shift_actions")}
    named = {"reward": columns.reward, "termination": columns.terminated}
    return {
        **settings,
        "columns": json.loads(json.dumps(asdict(columns))),
        "source": hashlib.sha256("".join(file_hash(path) for path in files).encode()).hexdigest(),
        "unrecorded": [what for what, column in named.items() if column is None],
    }


def _misaligned(found: Alignment | None, chosen: int | None) -> list[str]:
    """Actions that seem to stand one row off, unless somebody has decided."""
    if found is None or not found.certain or chosen is not None:
        return []
    return [
        f"{found.sentence()}: the log is one row off (shift_actions={found.lag} mends it), or the robot is one step "
        "late (shift_actions=0 keeps it so)"
    ]


def refuse(config: ImportConfig, faults: Sequence[str]) -> None:
    """List all faults and stop, before anything is written."""
    if not faults:
        return
    for fault in faults[:SHOWN] if len(faults) > 1 else []:
        print(f"  {fault}")
    others = len(faults) - 1
    more = f" (and {others} more fault{'s' * (others > 1)}, listed above)" if others else ""
    raise DataError(f"{faults[0]}{more}; nothing was written to {config.output}")


def conclude(dataset: Dataset, columns: ColumnMap, found: Alignment | None) -> None:
    """Print the table, and leave it as result.json."""
    low, high = (
        [min(e.min() for e in column) for column in _columns(dataset)],
        [max(e.max() for e in column) for column in _columns(dataset)],
    )
    print(f"\n{'column':<24}{'unit':>8}{'lowest':>14}{'highest':>14}   (SI)")
    rows = {}
    for name, unit, least, most in zip(
        [*columns.state, *columns.action],
        [*columns.state.values(), *columns.action.values()],
        low,
        high,
        strict=True,
    ):
        rows[name] = {"unit": unit, "low": float(least), "high": float(most)}
        print(f"{name:<24}{unit:>8}{least:>14.4g}{most:>14.4g}")
    minutes = dataset.num_steps * dataset.task.control_dt / 60
    print(
        f"{len(dataset)} episodes, {dataset.num_steps} steps of {dataset.task.control_dt:.6g} s: {minutes:.2f} minutes"
    )
    for line in _unit_vectors(dataset, list(columns.state)):
        print(line)
    if found is not None:
        print(f"{found.sentence()}; margin over row t: {found.margin:.1%}")
    unrecorded = dataset.manifest["recipe"]["unrecorded"]
    if "reward" in unrecorded:
        print("no reward was logged: give the environment yours, gym.make(..., reward_fn=...)")
    if "termination" in unrecorded:
        print("no termination was logged: imagined episodes end at the horizon, or where your termination_fn says")
    alignment = None if found is None else {"lag": found.lag, "margin": found.margin, "certain": found.certain}
    shares = {} if found is None else {str(lag): share for lag, share in found.shares.items()}
    result = {
        "task": dataset.task.name,
        "episodes": len(dataset),
        "steps": dataset.num_steps,
        "control_dt": dataset.task.control_dt,
        "columns": rows,
        "alignment": None if alignment is None else alignment | {"shares": shares},
        "unrecorded": unrecorded,
        "digest": dataset.digest(),
    }
    write_json(dataset.folder / "result.json", result)
    print(f"\nwritten: {dataset.folder}")


def _unit_vectors(dataset: Dataset, names: list[str]) -> Iterator[str]:
    """What was recognised without having been named."""
    described = dataset.task.observation_map
    for one, other in described.sin_cos:
        yield f"{names[one]} and {names[other]} are sine and cosine of one angle: their squares add up to 1"
    for first in described.quaternions:
        yield f"{names[first]} to {names[first + 3]} are a quaternion: their squares add up to 1"


def _columns(dataset: Dataset) -> list[list[Any]]:
    """Of each column, its values in each episode."""
    episodes = list(dataset.episodes())
    size = dataset.task.observation_space.size
    states = [[e.observations[:, number] for e in episodes] for number in range(size)]
    return states + [[e.actions[:, number] for e in episodes] for number in range(dataset.task.action_space.size)]


if __name__ == "__main__":
    run_program(main, ImportConfig)
