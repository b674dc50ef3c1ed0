"""The report's four figures, each drawn from the plain values of ``report.json`` and from nothing else.

Every figure exists in a wide and a narrow cut; the page shows the one that fits, so letters keep their size on a phone.
Two colours and two shapes mean the two worlds everywhere: blue dots the physics, orange diamonds the imagination.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from wm_gym.evaluation import charts
from wm_gym.evaluation.charts import Axis, shown

Plain = Mapping[str, Any]

WIDE, NARROW = 820.0, 360.0
EXACT = 1e-4
"""nRMSE below which a number counts as reproduced; a logarithmic axis has no zero."""
MOST_ROWS = 24
"""Numbers of an observation that one figure shows; of a longer one, the worst."""


def return_dots(rows: Sequence[Plain], width: float, title: str) -> str:
    """Mean return of each contender in each world, with intervals.

    Args:
        rows: entries of ``returns.contenders`` or ``returns.pooled``.
        width: ``WIDE`` or ``NARROW``.
        title: for screen readers.
    """
    narrow = width == NARROW
    step, top = (64.0, 12.0) if narrow else (46.0, 16.0)
    left = 12.0 if narrow else 40 + charts.LETTER * max(len(row["name"]) for row in rows)
    marks = [row[world] for row in rows for world in ("physical", "imagined") if row[world]]
    ends = [mark[end] for mark in marks for end in ("low", "value", "high") if mark[end] is not None]
    # The values are written to the right of the marks, in a gutter of their own.
    axis = Axis(*charts.padded_range(ends), left, width - 64)
    bottom = top + step * len(rows)
    parts = charts.horizontal_axis(axis, bottom, top, "return per episode (sum of rewards)", 4 if narrow else 8)
    for number, row in enumerate(rows):
        middle = top + step * number + step / 2
        if number:
            parts.append(charts.line(0 if narrow else 8, middle - step / 2, width, middle - step / 2, "rule"))
        if narrow:
            parts.append(charts.text(2, middle - 14, row["name"], "name"))
            middle += 10
        else:
            parts.append(charts.text(left - 16, middle + 4, row["name"], "name", "end"))
        for world, offset in (("physical", -8.0), ("imagined", 8.0)):
            if row[world]:
                parts += _dot(axis, row[world], world, middle + offset if row["imagined"] else middle, width)
    return charts.figure(width, bottom + 46, parts, title, cut(width))


def _dot(axis: Axis, figure: Plain, world: str, y: float, width: float) -> list[str]:
    """A mark with its interval, and the value in the gutter."""
    mark = charts.circle if world == "physical" else charts.diamond
    title, whisker = f"{world}: {shown(figure['value'])}", ""
    if figure["low"] is not None:
        title += f", interval {shown(figure['low'])} to {shown(figure['high'])}"
        whisker = charts.line(axis(figure["low"]), y, axis(figure["high"]), y, f"whisker {world}")
    return [
        whisker,
        mark(axis(figure["value"]), y, 5 if world == "physical" else 6, f"mark {world}", title),
        charts.text(width - 2, y + 4, shown(figure["value"]), f"value {world}", "end"),
    ]


def return_scatter(contenders: Sequence[Plain], width: float) -> str:
    """Each episode's return in the imagination against the physics, from the same start; the diagonal is agreement."""
    drawn = [row for row in contenders if row["imagined_returns"]]
    size = width
    left, right, top, bottom = 52.0, size - 14, 34.0, size - 50
    values = [v for row in drawn for world in ("physical", "imagined") for v in row[f"{world}_returns"]]
    low, high = charts.padded_range(values)
    across, up = Axis(low, high, left, right), Axis(low, high, bottom, top)
    parts = charts.horizontal_axis(across, bottom, top, "return in MuJoCo (sum of rewards)", 5)
    parts += charts.vertical_axis(up, left, right, "imagined return (sum of rewards)", 5)
    parts.append(charts.line(left, bottom, right, top, "diagonal"))
    parts.append(
        charts.text((left + right) / 2 - 8, (top + bottom) / 2 - 10, "agreement", "note", "middle", rotate=-45)
    )
    # The imagination-trained policies are drawn last, over the others.
    for row in sorted(drawn, key=lambda row: row["kind"] == "imagination"):
        for real, dream in zip(row["physical_returns"], row["imagined_returns"], strict=True):
            title = f"{row['name']}: {shown(real)} in MuJoCo, {shown(dream)} imagined"
            parts.append(_MARKS[row["kind"]](across(real), up(dream), 3.4, f"point {row['kind']}", title))
    kinds = [kind for kind in KIND_NAMES if any(row["kind"] == kind for row in drawn)]
    for number, kind in enumerate(kinds):
        # The corner below the diagonal is where a promise was too small: rarely a crowded place.
        y = bottom - 14 - 19 * (len(kinds) - 1 - number)
        parts.append(charts.text(right - 22, y + 4, KIND_NAMES[kind], f"halo strong {kind}-ink", "end"))
        parts.append(_MARKS[kind](right - 12, y, 4.5, f"point {kind}"))
    return charts.figure(size, size, parts, "Imagined against physical return of each episode", cut(width))


KIND_NAMES = {
    "imagination": "trained in imagination",
    "control": "trained in MuJoCo",
    "random": "random",
    "behaviour": "the data's behaviour",
}
_MARKS = {
    "imagination": charts.diamond,
    "control": charts.circle,
    "random": charts.square,
    "behaviour": charts.triangle,
}
"""A shape for each kind: colours alone say nothing to some."""


def error_curves(open_loop: Plain, width: float) -> str:
    """Open-loop error by horizon of the model, the naive baselines and the physics' own floor, on a log scale."""
    predictors = open_loop["predictors"]
    narrow = width == NARROW
    legend = 20.0 * len(predictors) if narrow else 0.0
    height = 360 + legend if narrow else 430.0
    gutter = 8.0 if narrow else charts.LETTER * 1.1 * max(len(p["name"]) for p in predictors) + 14
    left, right, top, bottom = 52.0, width - gutter, 40.0, height - 52 - legend
    steps = open_loop["horizon"]
    values = [v for p in predictors for v in p["curve"]["value"] if v is not None and v > 0]
    across, up = Axis(0, steps, left, right), Axis(*charts.decades([*values, 0.3], EXACT), bottom, top, True)
    label = f"steps imagined (1 step = {open_loop['control_dt']:.3g} s)"
    parts = charts.horizontal_axis(across, bottom, top, label, 4 if narrow else 8)
    title = "nRMSE (log scale)" if narrow else "error, in standard deviations of the data (nRMSE, log scale)"
    parts += charts.vertical_axis(up, left, right, title)
    parts.append(charts.line(left, up(0.3), right, up(0.3), "threshold"))
    parts.append(charts.text(right - 6, up(0.3) - 6, "valid below 0.3", "halo note", "end"))
    for predictor in sorted(predictors, key=lambda p: p["kind"] == "model"):
        parts += _curve(predictor, across, up)
    if narrow:
        parts += _curve_legend(predictors, left, bottom + 62)
    else:
        parts += _curve_names(predictors, up, right)
    return charts.figure(width, height, parts, "Open-loop error by horizon", cut(width))


def _curve(predictor: Plain, across: Axis, up: Axis) -> list[str]:
    curve, kind = predictor["curve"], _curve_class(predictor)
    rows = [
        (step + 1, *row)
        for step, row in enumerate(zip(curve["value"], curve["low"], curve["high"], strict=True))
        if None not in row
    ]
    upper = [(across(step), up(high)) for step, _, _, high in rows]
    lower = [(across(step), up(low)) for step, _, low, _ in rows]
    points = [(across(step), up(value)) for step, value, _, _ in rows]
    return [charts.band(upper, lower, f"band {kind}"), charts.polyline(points, f"curve {kind}", predictor["name"])]


def _curve_class(predictor: Plain) -> str:
    """A class of the style sheet: baselines are told apart by their dashes, not by colour."""
    return str(predictor["id"]) if predictor["kind"] != "baseline" else f"{predictor['id']} baseline"


def _curve_names(predictors: Sequence[Plain], up: Axis, right: float) -> list[str]:
    """Names where the curves end."""
    wanted = [up(_last(predictor["curve"]["value"])) + 4 for predictor in predictors]
    heights = charts.spread_labels(wanted, 16, up.end + 10, up.start)
    return [
        charts.text(right + 8, height, predictor["name"], f"strong {predictor['id']}-ink")
        for predictor, height in zip(predictors, heights, strict=True)
    ]


def _curve_legend(predictors: Sequence[Plain], left: float, top: float) -> list[str]:
    """Names under the figure, each beside a piece of its curve."""
    parts = []
    for number, predictor in enumerate(predictors):
        y, kind = top + 20.0 * number, _curve_class(predictor)
        parts.append(charts.polyline([(left, y - 4), (left + 34, y - 4)], f"curve {kind}"))
        parts.append(charts.text(left + 44, y, predictor["name"], f"strong {predictor['id']}-ink"))
    return parts


def _last(values: Sequence[float | None]) -> float:
    return next(value for value in reversed(values) if value is not None)


def dimension_dots(open_loop: Plain, width: float) -> str:
    """The model's error in each observed number at a few horizons: which part of the robot drifts, and how fast."""
    narrow = width == NARROW
    horizons = [str(h) for h in open_loop["horizons"]]
    rows = sorted(open_loop["dimensions"], key=lambda row: -(row["errors"][horizons[-1]] or 0))[:MOST_ROWS]
    rows = sorted(rows, key=lambda row: row["index"])
    left = 16 + charts.LETTER * 1.05 * max(len(row["label"]) for row in rows)
    step, top, right = 24.0, 44.0, width - 16
    bottom = top + step * len(rows)
    values = [error for row in rows for error in row["errors"].values() if error and error >= EXACT]
    axis = Axis(*charts.decades(values or [1.0]), left, right, True)
    parts = charts.horizontal_axis(axis, bottom, top, "nRMSE of the model (log scale)")
    parts += _horizon_legend(horizons, left, narrow)
    for number, row in enumerate(rows):
        y = top + step * number + step / 2
        parts.append(charts.text(left - 8, y + 4, row["label"], "name", "end"))
        found = [(h, row["errors"][h]) for h in horizons if row["errors"][h] is not None]
        if max((error for _, error in found), default=0.0) < EXACT:
            parts.append(charts.text(axis.start + 4, y + 4, f"exact to {EXACT:g}", "note"))
            found = []
        if found:
            spots = [axis(error) for _, error in found]
            parts.append(charts.line(min(spots), y, max(spots), y, "span"))
        for horizon, error in found:
            shade = horizons.index(horizon) + 4 - len(horizons)
            title = f"{row['label']} after {horizon} steps: {shown(error)}"
            parts.append(charts.circle(axis(error), y, 4 + 0.7 * shade, f"shade{shade}", title))
    return charts.figure(width, bottom + 46, parts, "Error of each observed number", cut(width))


def _horizon_legend(horizons: Sequence[str], left: float, narrow: bool) -> list[str]:
    place = 2.0 if narrow else left
    parts = [charts.text(place, 18, "after", "label")]
    x = place + 40
    for number, horizon in enumerate(horizons):
        shade = number + 4 - len(horizons)
        parts.append(charts.circle(x + 6, 14, 4 + 0.7 * shade, f"shade{shade}"))
        parts.append(charts.text(x + 16, 18, horizon, "tick"))
        x += 34 + charts.LETTER * len(horizon)
    return [*parts, charts.text(x, 18, "steps", "label")]


def cut(width: float) -> str:
    """Which of a figure's two cuts this is, as the style sheet calls it."""
    return "narrow" if width == NARROW else "wide"


def dominated(rows: Sequence[Plain]) -> bool:
    """Whether the untrained contenders stretch the axis so far that the trained ones cannot be told apart."""
    trained = [row["physical"]["value"] for row in rows if row["kind"] in ("imagination", "control")]
    trained += [row["imagined"]["value"] for row in rows if row["kind"] == "imagination" and row["imagined"]]
    everything = [row["physical"]["value"] for row in rows]
    if len(trained) < 2:
        return False
    span = max(everything) - min(everything)
    return math.isfinite(span) and span > 4 * (max(trained) - min(trained))
