"""One self-contained SVG of a model's calibration: coverage by horizon, and actual against expected error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wm_gym.evaluation import charts
from wm_gym.evaluation.charts import Axis

WIDTH, HEIGHT, TOP, BOTTOM = 820.0, 380.0, 40.0, 328.0
STYLE = """
svg { background: #ffffff; color-scheme: light; }
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1d2024; }
.tick, .label { fill: #5d636c; } .tick { font-size: 12px; } .strong { font-weight: 600; }
.axis { stroke: #5d636c; } .grid { stroke: #eceae4; } .promised { stroke: #0072b2; stroke-dasharray: 3 4; }
.curve { fill: none; stroke: #d55e00; stroke-width: 2.4; } .band { fill: #d55e00; opacity: .18; }
.dot { fill: #d55e00; }
"""


def write_chart(path: Path, values: Mapping[str, Any], title: str) -> None:
    """Draw the sampled rollouts of a result of ``benchmarks/measure_calibration.py``.

    Args:
        path: of the SVG; it appears whole or not at all.
        values: with ``level``, ``coverage`` and ``reliability``.
        title: the robot.
    """
    parts = [f"<style>{STYLE}</style>", *_coverage(values, title), *_reliability(values["reliability"])]
    charts.write_figure(path, charts.figure(WIDTH, HEIGHT, parts, f"Calibration of {title}", "wide"))


def _coverage(values: Mapping[str, Any], title: str) -> list[str]:
    """Share of errors below the bound at each horizon, on the left."""
    curve, level = values["coverage"]["curve"], values["level"]
    across, up = Axis(0, len(curve["value"]), 46, 390), Axis(0.5, 1.0, BOTTOM, TOP)
    rows = [
        (across(step), *(up(end) for end in row))
        for step, row in enumerate(zip(curve["low"], curve["value"], curve["high"], strict=True), start=1)
        if None not in row
    ]
    return [
        *charts.horizontal_axis(across, BOTTOM, TOP, "imagined steps"),
        *charts.vertical_axis(up, 46, 390, f"{title}: share of errors below the {level:.0%} bound"),
        charts.line(46, up(level), 390, up(level), "promised"),
        charts.band([(x, high) for x, _, _, high in rows], [(x, low) for x, low, _, _ in rows], "band"),
        charts.polyline([(x, value) for x, _, value, _ in rows], "curve", "coverage"),
    ]


def _reliability(bins: list[dict[str, float]]) -> list[str]:
    """Mean actual error against mean expected error, on the right; on the line where doubt is what it says."""
    low, high = charts.decades([value for row in bins for value in (row["expected"], row["actual"])])
    across, up = Axis(low, high, 470, 800, True), Axis(low, high, BOTTOM, TOP, True)
    dots = [
        charts.circle(
            across(row["expected"]),
            up(row["actual"]),
            4,
            "dot",
            f"expected {charts.shown(row['expected'])}, actual {charts.shown(row['actual'])}",
        )
        for row in bins
    ]
    return [
        *charts.horizontal_axis(across, BOTTOM, TOP, "expected error, info['uncertainty']"),
        *charts.vertical_axis(up, 470, 800, "actual error (nRMSE)"),
        charts.line(across(low), up(low), across(high), up(high), "promised"),
        *dots,
    ]
