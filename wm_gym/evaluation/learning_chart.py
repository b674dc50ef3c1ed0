"""Self-contained SVGs of learning: return against real steps, and what imagination promises too much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wm_gym.evaluation import charts
from wm_gym.evaluation.charts import Axis
from wm_gym.evaluation.prediction_chart import STYLE
from wm_gym.evaluation.statistics import mean_interval

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 820.0, 64.0, 585.0, 40.0, 300.0
GAP_TOP, GAP_BOTTOM = 388.0, 488.0
NAMES = {"inside": ("model", "with a world model"), "control": ("floor", "SAC in MuJoCo")}

Point = Mapping[str, float]
"""``steps``, ``value``, ``low``, ``high``."""


def draw_learning(values: Mapping[str, Any], title: str) -> str:
    """Both sides' mean return over seeds at each trial, how each ended, and the excess of imagination beneath.

    Args:
        values: of :func:`~wm_gym.evaluation.learning.compare_learning`.
        title: for screen readers, and above the axis.
    """
    ended = {side: {"steps": values[side]["real_steps"], **values[side]["return"]} for side in NAMES}
    curves = {NAMES[side]: values[side]["curve"] for side in NAMES}
    across = Axis(0, max(point["steps"] for point in ended.values()), LEFT, RIGHT)
    up = _height([*ended.values(), *(point for curve in curves.values() for point in curve)], BOTTOM, TOP)
    parts = _panel(curves, across, up, f"{title}: return in MuJoCo")
    for side, point in ended.items():
        kind, name = NAMES[side]
        where = f"{name}, {point['steps']:,} real steps: {_said(point)}"
        parts.append(charts.diamond(across(point["steps"]), up(point["value"]), 6, f"{kind}-ink", where))
    names = {}
    for side, (kind, name) in NAMES.items():
        count = len(values[side]["seeds"])
        names[f"{name} ({count} seed{'s' * (count > 1)})"] = (kind, up(values[side]["curve"][-1]["value"]))
    parts += _names(names)
    return _figure(parts, across, values["excess"], title)


def draw_progress(curve: Sequence[Mapping[str, Any]], title: str) -> str:
    """One agent's mean return in both worlds at each trial, and their difference beneath.

    Args:
        curve: ``steps``, ``physical`` returns and the mean ``imagined`` return of each trial.
        title: for screen readers, and above the axis.
    """
    generator = np.random.default_rng(0)
    physical: list[dict[str, float]] = [
        {"steps": point["steps"]} | mean_interval(np.asarray(point["physical"]), generator).to_dict() for point in curve
    ]
    imagined = [_exact(point["steps"], point["imagined"]) for point in curve]
    excess = [_exact(p["steps"], i["value"] - p["value"]) for p, i in zip(physical, imagined, strict=True)]
    across, up = Axis(0, curve[-1]["steps"], LEFT, RIGHT), _height([*physical, *imagined], BOTTOM, TOP)
    worlds = {("floor", "in MuJoCo"): physical, ("model", "imagined"): imagined}
    parts = _panel(worlds, across, up, f"{title}: return of the mean action")
    parts += _names({name: (kind, up(found[-1]["value"])) for (kind, name), found in worlds.items()})
    return _figure(parts, across, excess, title)


def _figure(parts: Sequence[str], across: Axis, excess: Sequence[Point], title: str) -> str:
    beneath = _height([*excess, _exact(0, 0.0)], GAP_BOTTOM, GAP_TOP)
    said = "imagined minus physical return: above the line imagination promises too much"
    gap = _panel({("rival", "imagined minus physical"): excess}, across, beneath, said, 5)
    zero = charts.line(LEFT, beneath(0.0), RIGHT, beneath(0.0), "threshold")
    return charts.figure(WIDTH, GAP_BOTTOM + 46, [f"<style>{STYLE}</style>", *parts, *gap, zero], title, "wide")


def _panel(
    curves: Mapping[tuple[str, str], Sequence[Point]], across: Axis, up: Axis, label: str, ticks: int = 6
) -> list[str]:
    parts = charts.horizontal_axis(across, up.start, up.end, "real steps")
    parts += charts.vertical_axis(up, LEFT, RIGHT, label, ticks)
    for (kind, name), points in curves.items():
        places = [across(point["steps"]) for point in points]
        upper, middle, lower = (
            list(zip(places, (up(p[end]) for p in points), strict=True)) for end in ("high", "value", "low")
        )
        parts += [charts.band(upper, lower, f"band {kind}"), charts.polyline(middle, f"curve {kind}", name)]
        for (x, y), point in zip(middle, points, strict=True):
            parts.append(charts.circle(x, y, 2.5, f"{kind}-ink", f"{name}, {point['steps']:,} steps: {_said(point)}"))
    return parts


def _names(wanted: Mapping[str, tuple[str, float]]) -> list[str]:
    """Names where the curves end."""
    heights = charts.spread_labels([height + 4 for _, height in wanted.values()], 16, TOP + 10, BOTTOM)
    return [
        charts.text(RIGHT + 12, height, name, f"strong {kind}-ink")
        for (name, (kind, _)), height in zip(wanted.items(), heights, strict=True)
    ]


def _height(points: Sequence[Point], bottom: float, top: float) -> Axis:
    return Axis(*charts.padded_range([point[end] for point in points for end in ("low", "high")]), bottom, top)


def _exact(steps: float, value: float) -> dict[str, float]:
    return {"steps": steps, "value": value, "low": value, "high": value}


def _said(point: Point) -> str:
    if point["low"] == point["high"]:
        return charts.shown(point["value"])
    return charts.shown_interval(point)
