"""One self-contained SVG: the error of what a safety gate lets through, against the share of steps let through."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wm_gym.evaluation import charts
from wm_gym.evaluation.charts import Axis
from wm_gym.evaluation.prediction_chart import STYLE

Plain = Mapping[str, Any]

WIDTH, HEIGHT = 720.0, 400.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 540.0, 40.0, 348.0


def draw_risk(values: Plain, title: str) -> str:
    """The chart as text.

    Args:
        values: ``risk_coverage`` of :func:`~wm_gym.evaluation.gate_benchmark.measure_gate`.
        title: for screen readers, and above the axis.
    """
    shares = values["share"]
    across = Axis(0.0, 1.0, LEFT, RIGHT)
    up = Axis(0.0, 1.1 * max(*values["risk"], values["all"], 1e-6), BOTTOM, TOP)
    curves = {"gate": ("model", values["risk"]), "knowing the error": ("floor", values["best"])}
    parts = [f"<style>{STYLE}</style>"]
    parts += charts.horizontal_axis(across, BOTTOM, TOP, "share of the steps let through", 5)
    parts += charts.vertical_axis(up, LEFT, RIGHT, f"{title}: error of what is let through (nRMSE)")
    parts.append(charts.line(LEFT, up(values["all"]), RIGHT, up(values["all"]), "threshold"))
    ends = charts.spread_labels(
        [up(curve[-1]) + 4 for _, curve in curves.values()] + [up(values["all"]) + 4], 16, 0, HEIGHT
    )
    for (name, (kind, curve)), y in zip(curves.items(), ends, strict=False):
        parts.append(charts.polyline([(across(s), up(v)) for s, v in zip(shares, curve, strict=True)], f"curve {kind}"))
        parts.append(charts.text(RIGHT + 8, y, name, f"strong {kind}-ink"))
    parts.append(charts.text(RIGHT + 8, ends[-1], "at random", "note"))
    gate = values["gate"]
    parts.append(charts.diamond(across(gate["share"]), up(gate["risk"]), 6, "model-ink", "the calibrated threshold"))
    parts.append(charts.text(across(gate["share"]) - 10, up(gate["risk"]) - 10, "threshold", "note", "end"))
    return charts.figure(WIDTH, HEIGHT, parts, title, "wide")


def write_risk_chart(path: Path, values: Plain, title: str) -> None:
    """Write the chart, whole or not at all."""
    charts.write_figure(path, draw_risk(values, title))
