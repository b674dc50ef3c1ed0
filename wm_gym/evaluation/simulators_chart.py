"""One self-contained SVG: what agents of several worlds earn on the robot itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wm_gym.evaluation import charts
from wm_gym.evaluation.charts import Axis
from wm_gym.evaluation.prediction_chart import STYLE

WIDTH, LEFT, RIGHT, TOP, ROW = 820.0, 250.0, 640.0, 40.0, 44.0
INK = {"imagination": "model-ink", "oracle": "floor-ink"}
OWN = ".seed { fill: none; stroke: #8a9099; } .interval { stroke: #1d2024; stroke-width: 2; }"


def draw_simulators(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """The chart as text: a row for each world, its mean with its interval, and a ring for each training seed.

    Args:
        rows: of :func:`~wm_gym.evaluation.simulators.compare_worlds`.
        title: for screen readers, and under the axis.
    """
    ends = [row["return"][part] for row in rows for part in ("low", "value", "high")]
    across = Axis(*charts.padded_range([*ends, *(value for row in rows for value in row["seed_returns"])]), LEFT, RIGHT)
    bottom = TOP + ROW * len(rows)
    parts = [f"<style>{STYLE}{OWN}</style>"]
    parts += charts.horizontal_axis(across, bottom, TOP - 10, f"{title}: return on the robot")
    for number, row in enumerate(rows):
        y, found = TOP + ROW * (number + 0.5), row["return"]
        ink = INK.get(row["world"], "baseline-ink")
        parts.append(charts.text(LEFT - 14, y + 4, row["name"], f"strong {ink}", "end"))
        parts += [
            charts.circle(across(value), y, 3.5, "seed", f"one training seed: {charts.shown(value)}")
            for value in row["seed_returns"]
        ]
        parts.append(charts.line(across(found["low"]), y, across(found["high"]), y, "interval"))
        said = charts.shown_interval(found)
        parts.append(charts.diamond(across(found["value"]), y, 6, ink, said))
        parts.append(charts.text(RIGHT + 12, y + 4, said, "note"))
    return charts.figure(WIDTH, bottom + 52, parts, title, "wide")


def write_simulators_chart(path: Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Write the chart, whole or not at all."""
    charts.write_figure(path, draw_simulators(rows, title))
