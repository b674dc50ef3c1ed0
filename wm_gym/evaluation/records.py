"""The raw measurements behind a report: one JSON object a line, from which every figure can be computed again.

A section first measures (lists of records), then judges (figures of those records alone). So the figures of a report
can be checked by anybody who has its folder, without the model and without MuJoCo.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wm_gym.errors import DataError
from wm_gym.evaluation.report import plain
from wm_gym.files import replacing
from wm_gym.types import FloatArray

Record = Mapping[str, Any]
EPISODES = "episodes.jsonl"
DIGITS = 9
"""Significant digits of every stored number: more than float32 has, and fewer than differ between processors."""


def rounded(value: Any) -> Any:
    """Plain values with ``DIGITS`` significant digits; what is not finite becomes None."""
    found = plain(value)
    return _round(found)


def _round(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _round(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_round(entry) for entry in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def of(records: Iterable[Record], **where: Any) -> list[Record]:
    """The records whose fields have these values."""
    return [record for record in records if all(record.get(key) == value for key, value in where.items())]


def column(records: Sequence[Record], name: str) -> FloatArray:
    """One field of every record as an array (N, ...); None becomes NaN."""
    return np.array([_numbers(record[name]) for record in records], dtype=np.float64)


def ragged(records: Sequence[Record], name: str, length: int) -> FloatArray:
    """A field that holds lists of at most ``length`` numbers: (N, length), filled up with NaN."""
    rows = np.full((len(records), length), np.nan)
    for row, record in enumerate(records):
        values = _numbers(record[name])
        rows[row, : len(values)] = values
    return rows


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write one line for each record; the file appears whole."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record, allow_nan=False) + "\n")


def read_records(path: Path) -> list[Record]:
    """Read what :func:`write_records` wrote.

    Raises:
        DataError: the file is missing, or a line is damaged.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); make the report again") from error
    found: list[Record] = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}: line {number} is damaged ({error}); make the report again") from error
        if not isinstance(record, dict) or "section" not in record:
            raise DataError(f"{path}: line {number} is no record of a report; make the report again")
        found.append(record)
    return found


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbers(entry) for entry in value]
    return math.nan if value is None else value
