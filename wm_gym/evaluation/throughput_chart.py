"""One self-contained SVG of a throughput benchmark: steps a second against the number of environments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wm_gym.evaluation import charts
from wm_gym.evaluation.charts import Axis
from wm_gym.evaluation.prediction_chart import STYLE

Plain = Mapping[str, Any]

WIDTH, HEIGHT = 760.0, 430.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 530.0, 40.0, 378.0
KINDS = {
    "gym.make_vec": "model",
    "mujoco.rollout": "floor",
    "mujoco.batch": "floor arx",
    "EnvPool": "floor velocity",
    "MuJoCo, make_vec sync": "rival",
    "MuJoCo, make_vec async": "rival arx",
}
"""Name of a runner -> classes of its curve."""


def draw_throughput(values: Plain, title: str) -> str:
    """The chart as text.

    Args:
        values: from :func:`~wm_gym.evaluation.throughput_benchmark.measure_throughput`.
        title: for screen readers, and above the axis.
    """
    curves: dict[str, list[tuple[float, Plain]]] = {}
    for figure in [*values["batches"], *values["physics"]]:
        if figure["name"] in KINDS:
            curves.setdefault(figure["name"], []).append((figure["rows"], figure))
    figures = [figure for curve in curves.values() for _, figure in curve]
    most = max(figure["rows"] for figure in figures)
    across = Axis(1.0, float(max(most, 2)), LEFT, RIGHT, True)
    up = Axis(*charts.decades([figure[part] for figure in figures for part in ("low", "high")]), BOTTOM, TOP, True)
    parts = [f"<style>{STYLE}</style>"]
    parts += charts.horizontal_axis(across, BOTTOM, TOP, "environments (log scale)")
    parts += charts.vertical_axis(up, LEFT, RIGHT, f"{title}: steps a second (log scale)")
    ends = charts.spread_labels([up(curve[-1][1]["median"]) + 4 for curve in curves.values()], 16, 0, HEIGHT)
    for (name, curve), y in zip(curves.items(), ends, strict=True):
        kind = KINDS[name]
        points = sorted(curve, key=lambda point: point[0])
        upper = [(across(rows), up(figure["high"])) for rows, figure in points]
        lower = [(across(rows), up(figure["low"])) for rows, figure in points]
        parts.append(charts.band(upper, lower, f"band {kind}"))
        parts.append(charts.polyline([(across(r), up(f["median"])) for r, f in points], f"curve {kind}", name))
        for rows, figure in points:
            said = f"{name}, {rows} environments: {charts.shown(figure['median'])} steps a second"
            parts.append(charts.circle(across(rows), up(figure["median"]), 3.5, f"{kind.split()[0]}-ink", said))
        parts.append(charts.text(RIGHT + 8, y, _label(name), f"strong {kind.split()[0]}-ink"))
    return charts.figure(WIDTH, HEIGHT, parts, title, "wide")


def write_throughput_chart(path: Path, values: Plain, title: str) -> None:
    """Write the chart, whole or not at all."""
    charts.write_figure(path, draw_throughput(values, title))


def _label(name: str) -> str:
    return "WorldModel-v0, make_vec" if name == "gym.make_vec" else name
