"""The report's figures about the panel, about an action's effect, and about changed robots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wm_gym.evaluation import charts
from wm_gym.evaluation.charts import Axis, shown
from wm_gym.evaluation.figures import NARROW, cut

Plain = Mapping[str, Any]


def panel_scatter(panel: Sequence[Plain], width: float) -> str:
    """Each policy's mean return in the imagination against MuJoCo, with both intervals; the diagonal is agreement."""
    left, right, top, bottom = 56.0, width - 14, 34.0, width - 50
    ends = [row[world][end] for row in panel for world in ("physical", "imagined") for end in ("low", "high")]
    low, high = charts.padded_range(ends)
    across, up = Axis(low, high, left, right), Axis(low, high, bottom, top)
    parts = charts.horizontal_axis(across, bottom, top, "mean return in MuJoCo (sum of rewards)", 5)
    parts += charts.vertical_axis(up, left, right, "mean imagined return (sum of rewards)", 5)
    parts.append(charts.line(left, bottom, right, top, "diagonal"))
    for row in panel:
        real, dream, kind = row["physical"], row["imagined"], _tone(row["kind"])
        x, y = across(real["value"]), up(dream["value"])
        parts.append(charts.line(across(real["low"]), y, across(real["high"]), y, f"thin {kind}"))
        parts.append(charts.line(x, up(dream["low"]), x, up(dream["high"]), f"thin {kind}"))
        title = f"{row['name']}: {shown(real['value'])} in MuJoCo, {shown(dream['value'])} imagined"
        parts.append(_KINDS[row["kind"]][1](x, y, 4.5, f"mark {kind}", title))
    present = [kind for kind in _KINDS if any(row["kind"] == kind for row in panel)]
    for number, kind in enumerate(present):
        name, mark = _KINDS[kind]
        y = bottom - 15 - 19 * (len(present) - 1 - number)
        parts.append(charts.text(right - 22, y + 4, name, "halo strong", "end"))
        parts.append(mark(right - 12, y, 4.5, f"mark {_tone(kind)}"))
    return charts.figure(width, width, parts, "Mean return of each policy in both worlds", cut(width))


_KINDS = {
    "trained": ("trained in MuJoCo", charts.circle),
    "scripted": ("scripted", charts.diamond),
    "random": ("random", charts.square),
    "adversarial": ("adversarial", charts.triangle),
}
"""Of policies: what the legend calls them, and their shape."""


def _tone(kind: str) -> str:
    return "panel-trained" if kind == "trained" else "panel-other"


def response_curves(response: Plain, width: float) -> str:
    """Effect of a pulse after each step, in both worlds."""
    height, left, right, top, bottom = 260.0, 56.0, width - 110, 40.0, 208.0
    steps = len(response["physics"])
    values = [*response["physics"], *response["model"]]
    across, up = Axis(0.5, steps + 0.5, left, right), Axis(0.0, max(values) * 1.1 or 1.0, bottom, top)
    title = "effect (standard deviations of the data)"
    parts = charts.vertical_axis(up, left, right, title, 4)
    parts += charts.horizontal_axis(across, bottom, top, "steps after the pulse", steps)
    for name, kind, word in (("physics", "floor", "MuJoCo"), ("model", "model", "imagined")):
        points = [(across(step + 1), up(value)) for step, value in enumerate(response[name])]
        parts.append(charts.polyline(points, f"curve {kind}", word))
        mark = charts.circle if name == "physics" else charts.diamond
        tone = "physical" if name == "physics" else "imagined"
        parts += [
            mark(x, y, 4.5, f"mark {tone}", f"{word}: {shown(v)}")
            for (x, y), v in zip(points, response[name], strict=True)
        ]
    wanted = [up(response[name][-1]) + 4 for name in ("physics", "model")]
    placed = charts.spread_labels(wanted, 16, top + 6, bottom)
    for word, tone, y in zip(("MuJoCo", "imagined"), ("floor", "model"), placed, strict=True):
        parts.append(charts.text(right + 8, y, word, f"strong {tone}-ink"))
    return charts.figure(width, height, parts, "Effect of an action", cut(width))


def change_dots(section: Plain, width: float) -> str:
    """Change of each policy's return under each change of the robot, with intervals."""
    narrow = width == NARROW
    rows = [row for row in section["table"] if row["amount"]]
    names = [f"{row['axis']} {row['amount']}" for row in rows]
    step, top = (52.0, 12.0) if narrow else (34.0, 16.0)
    left = 12.0 if narrow else 30 + charts.LETTER * max(len(name) for name in names)
    ends = [p["change"][end] for row in rows for p in row["policies"] for end in ("low", "high", "value")]
    axis = Axis(*charts.padded_range([*ends, 0.0]), left, width - 16)
    bottom = top + step * len(rows)
    parts = charts.horizontal_axis(
        axis, bottom, top, "change of the return per episode (sum of rewards)", 4 if narrow else 8
    )
    parts.append(charts.line(axis(0.0), top, axis(0.0), bottom, "axis"))
    for number, (row, name) in enumerate(zip(rows, names, strict=True)):
        middle = top + step * number + step / 2
        if narrow:
            parts.append(charts.text(2, middle - 10, name, "name"))
            middle += 8
        else:
            parts.append(charts.text(left - 14, middle + 4, name, "name", "end"))
        for place, policy in enumerate(row["policies"]):
            y = middle + (place - (len(row["policies"]) - 1) / 2) * 13
            change, inside = policy["change"], policy["kind"] == "imagination"
            tone, mark = ("imagined", charts.diamond) if inside else ("physical", charts.circle)
            parts.append(charts.line(axis(change["low"]), y, axis(change["high"]), y, f"whisker {tone}"))
            parts.append(
                mark(axis(change["value"]), y, 5, f"mark {tone}", f"{policy['name']}: {shown(change['value'])}")
            )
    return charts.figure(width, bottom + 46, parts, "Change of return on changed robots", cut(width))
