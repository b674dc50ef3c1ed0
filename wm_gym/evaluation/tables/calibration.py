"""The two tables of doubts: whether they cover the errors, and whether they tell of a changed robot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wm_gym.errors import DataError
from wm_gym.evaluation.tables.cells import to_hundredths
from wm_gym.evaluation.tables.result_files import made_by, read_each


def render_calibration(results: Path, line: Callable[[Mapping[str, Any]], dict[str, str]]) -> str:
    """One row for each robot, its cells by the names of the columns; a column that some robot lacks is empty there.

    Raises:
        DataError: there is no calibration benchmark to show, or a file is damaged.
    """
    found = read_each(
        results, "calibration", "a calibration benchmark", lambda content: (line(content), made_by(content))
    )
    if not found:
        raise DataError(f"{results} holds no calibration_*.json; run benchmarks/measure_calibration.py")
    rows, made = zip(*found, strict=True)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = ["", f"| {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) - 1)]
    lines += [f"| {' | '.join(row.get(column, '') for column in columns)} |" for row in rows]
    return "\n".join([*lines, "", f"{made[-1]}.", ""])


def coverage_line(content: Mapping[str, Any]) -> dict[str, str]:
    """Coverage, and how well doubt tells wrong predictions from right ones on recorded episodes."""
    found = content["modes"]["sampled"]
    cells = {
        "robot": content["task"],
        "episodes": f"{content['model']['calibration']['episodes']:,} / {content['recording']['episodes']:,}",
        "covered": to_hundredths(found["coverage"]["pooled"]),
    }
    cells |= {f"at {horizon}": f"{figure['value']:.2f}" for horizon, figure in found["coverage"]["at"].items()}
    return cells | {f"AUROC at {horizon}": _area(row, "expected") for horizon, row in found["auroc"].items()}


def changes_line(content: Mapping[str, Any]) -> dict[str, str]:
    """Areas at the last horizon with enough wrong and right predictions, alone and with what was observed before."""
    cells = {"robot": content["task"]}
    for change, found in content["changed"].items():
        told = [(horizon, row) for horizon, row in (found or {}).items() if row["expected"] is not None]
        if not told:
            cells[change] = "does not move it" if found is None else "too few"
            continue
        horizon, row = next(((h, r) for h, r in told if h == "50"), told[-1])
        cells[change] = f"{row['expected']['value']:.2f} -> {row['surprised']['value']:.2f} (at {horizon})"
    return cells


def _area(row: Mapping[str, Any], name: str) -> str:
    return "" if row[name] is None else to_hundredths(row[name])
