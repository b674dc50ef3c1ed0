"""One self-contained SVG of a robot's prediction benchmark: error by horizon, drawn from the values of its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from wm_gym.evaluation import charts
from wm_gym.evaluation.charts import Axis

Plain = Mapping[str, Any]

WIDTH, HEIGHT = 820.0, 430.0
LEFT, TOP, BOTTOM = 52.0, 40.0, 378.0
EXACT = 1e-4
"""nRMSE below which an error is drawn as this: a logarithmic axis has no zero."""
STYLE = """
svg { background: #ffffff; color-scheme: light; }
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1d2024; }
.tick, .label, .note { fill: #5d636c; } .tick, .note { font-size: 12px; } .strong { font-weight: 600; }
.axis { stroke: #5d636c; } .grid { stroke: #eceae4; } .threshold { stroke: #5d636c; stroke-dasharray: 3 4; }
.unjudged { fill: #8a9099; opacity: .14; }
.curve { fill: none; stroke: #8a9099; stroke-width: 1.8; stroke-linejoin: round; }
.band { fill: #8a9099; opacity: .16; }
.curve.model { stroke: #d55e00; stroke-width: 3; } .band.model { fill: #d55e00; } .model-ink { fill: #ad4b00; }
.curve.rival { stroke: #a8578a; stroke-width: 2.4; } .band.rival { fill: #a8578a; } .rival-ink { fill: #8d3f70; }
.curve.floor { stroke: #0072b2; stroke-width: 2.4; } .band.floor { fill: #0072b2; } .floor-ink { fill: #00619a; }
.curve.velocity { stroke-dasharray: 8 4; } .curve.arx { stroke-dasharray: 2 3; } .baseline-ink { fill: #5d636c; }
"""


def draw_prediction(values: Plain, title: str) -> str:
    """The chart as text.

    Args:
        values: from :func:`~wm_gym.evaluation.prediction_benchmark.measure_prediction`.
        title: for screen readers, and above the axis.
    """
    predictors = values["predictors"]
    right = WIDTH - 14 - charts.LETTER * 1.3 * max(len(predictor["name"]) for predictor in predictors)
    across = Axis(0, values["horizon"], LEFT, right)
    drawn = [v for predictor in predictors for v in predictor["curve"]["value"] if v]
    up = Axis(*charts.decades([*drawn, values["valid_below"]], EXACT), BOTTOM, TOP, True)
    parts = [f"<style>{STYLE}</style>", *_unjudged(values["judged"], across)]
    parts += charts.horizontal_axis(across, BOTTOM, TOP, f"steps predicted (1 step = {values['control_dt']:.3g} s)", 8)
    parts += charts.vertical_axis(up, LEFT, right, f"{title}: error in standard deviations of the data (log scale)")
    level = up(values["valid_below"])
    parts.append(charts.line(LEFT, level, right, level, "threshold"))
    parts.append(charts.text(right - 6, level - 6, f"valid below {values['valid_below']:g}", "note", "end"))
    for predictor in sorted(predictors, key=lambda p: p["kind"] == "model"):
        parts += _curve(predictor, across, up)
    parts += _names(predictors, up, right)
    return charts.figure(WIDTH, HEIGHT, parts, title, "wide")


def write_chart(path: Path, values: Plain, title: str) -> None:
    """Write the chart, whole or not at all."""
    charts.write_figure(path, draw_prediction(values, title))


def _unjudged(judged: Sequence[bool], across: Axis) -> list[str]:
    """A shade over each stretch of horizons that is drawn but not judged."""
    flags = [True, *judged, True]
    starts = [step for step, (before, now) in enumerate(pairwise(flags)) if before and not now]
    ends = [step for step, (before, now) in enumerate(pairwise(flags)) if not before and now]
    shades = []
    for start, end in zip(starts, ends, strict=True):
        upper = [(across(start), TOP), (across(end), TOP)]
        shades.append(charts.band(upper, [(x, BOTTOM) for x, _ in upper], "unjudged"))
        shades.append(charts.text(across(start) + 4, TOP + 14, "not judged", "note"))
    return shades


def _curve(predictor: Plain, across: Axis, up: Axis) -> list[str]:
    curve, kind = predictor["curve"], f"{predictor['kind']} {predictor['id']}"
    rows = [
        (across(step), *(up(end) for end in row))
        for step, row in enumerate(zip(curve["low"], curve["value"], curve["high"], strict=True), start=1)
        if None not in row
    ]
    upper, lower = [(x, high) for x, _, _, high in rows], [(x, low) for x, low, _, _ in rows]
    line = charts.polyline([(x, value) for x, _, value, _ in rows], f"curve {kind}", predictor["name"])
    return [charts.band(upper, lower, f"band {kind}"), line]


def _names(predictors: Sequence[Plain], up: Axis, right: float) -> list[str]:
    """Names where the curves end."""
    last = [next(v for v in reversed(predictor["curve"]["value"]) if v is not None) for predictor in predictors]
    heights = charts.spread_labels([up(value) + 4 for value in last], 16, up.end + 10, up.start)
    return [
        charts.text(right + 8, height, predictor["name"], f"strong {predictor['kind']}-ink")
        for predictor, height in zip(predictors, heights, strict=True)
    ]
