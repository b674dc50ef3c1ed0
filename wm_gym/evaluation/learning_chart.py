"""One self-contained SVG: return against real steps, with a world model and without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wm_gym.evaluation import charts
from wm_gym.evaluation.charts import Axis
from wm_gym.evaluation.prediction_chart import STYLE
from wm_gym.files import replacing

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 820.0, 400.0, 64.0, 610.0, 40.0, 340.0
NAMES = {"inside": ("model", "with a world model"), "control": ("floor", "SAC in MuJoCo")}


def draw_learning(values: Mapping[str, Any], title: str) -> str:
    """The chart as text: each side's mean return over seeds at each trial, with its interval, and how it ended.

    Args:
        values: of :func:`~wm_gym.evaluation.learning.compare_learning`.
        title: for screen readers, and above the axis.
    """
    points = [point for side in NAMES for point in [*values[side]["curve"], _ended(values[side])]]
    across = Axis(0, max(point["steps"] for point in points), LEFT, RIGHT)
    up = Axis(*charts.padded_range([point[end] for point in points for end in ("low", "high")]), BOTTOM, TOP)
    parts = [f"<style>{STYLE}</style>", *charts.horizontal_axis(across, BOTTOM, TOP, "real steps")]
    parts += charts.vertical_axis(up, LEFT, RIGHT, f"{title}: return in MuJoCo")
    for side, (kind, name) in NAMES.items():
        parts += _curve(values[side]["curve"], kind, name, across, up)
        ended = _ended(values[side])
        said = f"{charts.shown(ended['value'])} [{charts.shown(ended['low'])}, {charts.shown(ended['high'])}]"
        where = f"{name}, {ended['steps']:,} real steps: {said}"
        parts.append(charts.diamond(across(ended["steps"]), up(ended["value"]), 6, f"{kind}-ink", where))
    ends = [values[side]["curve"][-1]["value"] for side in NAMES]
    heights = charts.spread_labels([up(value) + 4 for value in ends], 16, TOP + 10, BOTTOM)
    for side, height in zip(NAMES, heights, strict=True):
        kind, name = NAMES[side]
        count = len(values[side]["seeds"])
        parts.append(charts.text(RIGHT + 12, height, f"{name} ({count} seed{'s' * (count > 1)})", f"strong {kind}-ink"))
    return charts.figure(WIDTH, HEIGHT, parts, title, "wide")


def write_learning_chart(path: Path, values: Mapping[str, Any], title: str) -> None:
    """Write the chart, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(draw_learning(values, title), encoding="utf-8")


def _ended(side: Mapping[str, Any]) -> dict[str, float]:
    return {"steps": side["real_steps"], **side["return"]}


def _curve(points: Sequence[Mapping[str, float]], kind: str, name: str, across: Axis, up: Axis) -> list[str]:
    upper = [(across(point["steps"]), up(point["high"])) for point in points]
    lower = [(across(point["steps"]), up(point["low"])) for point in points]
    middle = [(across(point["steps"]), up(point["value"])) for point in points]
    return [charts.band(upper, lower, f"band {kind}"), charts.polyline(middle, f"curve {kind}", name)]
