"""Every step behind the report's figures, as one parquet table from which they can be computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wm_gym.evaluation.held_out import HeldOut
from wm_gym.files import replacing
from wm_gym.types import Episode, FloatArray

SCHEMA = pa.schema(
    [
        pa.field("section", pa.string(), metadata={"meaning": "returns or open_loop"}),
        pa.field("world", pa.string(), metadata={"meaning": "physics, imagination, or floor (physics started off)"}),
        pa.field("policy", pa.string(), metadata={"meaning": "what acted"}),
        pa.field("episode", pa.int32(), metadata={"meaning": "the same number is the same start"}),
        pa.field("seed", pa.int64(), metadata={"meaning": "of the physics' reset, or of the imagination's row"}),
        pa.field("step", pa.int32()),
        pa.field("observation", pa.list_(pa.float32())),
        pa.field(
            "action", pa.list_(pa.float32()), metadata={"meaning": "applied at this observation; null at the end"}
        ),
        pa.field("reward", pa.float32(), metadata={"meaning": "of this action; null at the end"}),
        pa.field("terminated", pa.bool_(), metadata={"meaning": "by this action"}),
        pa.field("truncated", pa.bool_(), metadata={"meaning": "by this action"}),
    ]
)


@dataclass(frozen=True)
class Recorded:
    """Episodes of one actor in one world."""

    section: str
    world: str
    policy: str
    episodes: Sequence[Episode]


def predicted_episodes(held_out: HeldOut, states: FloatArray, rewards: FloatArray) -> list[Episode]:
    """Open-loop predictions as episodes: what was known, then what was predicted under the same actions.

    Args:
        held_out: what truly happened.
        states: (N, H, S) predicted.
        rewards: (N, H) predicted.
    """
    episodes = []
    for row, truth in enumerate(held_out.episodes):
        steps = int(held_out.running[row].sum())
        known, length = held_out.start, held_out.start + steps
        episodes.append(
            Episode(
                observations=np.concatenate([truth.observations[: known + 1], states[row, :steps]]).astype(np.float32),
                actions=truth.actions[:length],
                rewards=np.concatenate([truth.rewards[:known], rewards[row, :steps]]).astype(np.float32),
                terminated=False,
                truncated=True,
                control_dt=truth.control_dt,
                behaviour=truth.behaviour,
                seed=truth.seed,
            )
        )
    return episodes


def write_trajectories(path: Path, records: Sequence[Recorded], notes: Mapping[str, str] | None = None) -> None:
    """Write one row for each observation, T+1 for an episode of T steps.

    Args:
        path: of the file; it is written beside and renamed.
        records: what to write; never a NaN that the worlds did not produce.
        notes: plain text kept in the file's metadata.
    """
    schema = SCHEMA.with_metadata(dict(notes or {}))
    with replacing(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for record in records:
            for table in _tables(record):
                writer.write_table(table)


def _tables(record: Recorded, at_once: int = 100) -> Iterator[pa.Table]:
    for first in range(0, len(record.episodes), at_once):
        columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
        for number, episode in enumerate(record.episodes[first : first + at_once], start=first):
            _append(columns, record, number, episode)
        yield pa.table(columns, schema=SCHEMA)


def _append(columns: dict[str, list[object]], record: Recorded, number: int, episode: Episode) -> None:
    steps = len(episode)
    shared = {"section": record.section, "world": record.world, "policy": episode.behaviour or record.policy}
    for name, value in shared.items():
        columns[name] += [value] * (steps + 1)
    columns["episode"] += [number] * (steps + 1)
    columns["seed"] += [episode.seed] * (steps + 1)
    columns["step"] += range(steps + 1)
    columns["observation"] += list(np.asarray(episode.observations, dtype=np.float32))
    columns["action"] += [*np.asarray(episode.actions, dtype=np.float32), None]
    columns["reward"] += [*np.asarray(episode.rewards, dtype=np.float32).tolist(), None]
    columns["terminated"] += [*[False] * (steps - 1), episode.terminated, None]
    columns["truncated"] += [*[False] * (steps - 1), episode.truncated, None]
