"""The parts that the report's figures are drawn from: scales, axes and marks as SVG text.

Colours are classes, resolved by the page's style sheet, so that a figure follows the reader's light or dark theme.
Every mark that stands for a figure has a tooltip with the exact value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from wm_gym.files import replacing

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
"""Stands where there is no figure."""
LETTER = 6.3
"""Mean width of a letter at the figures' font size, in the figure's own units."""


@dataclass(frozen=True)
class Axis:
    """Maps values in [low, high] to positions in [start, end] of the figure, linearly or by their logarithm."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Position of ``value``; values beyond an end lie on it."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return self.start + (self.end - self.start) * (at - low) / (high - low)

    def ticks(self, count: int = 6) -> list[float]:
        """Round values inside the axis: steps of 1, 2 or 5, or powers of ten."""
        if self.logarithmic:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            return [10.0**power for power in powers]
        step = round_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def round_step(rough: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= rough * (1 - 1e-9))


def padded_range(values: Sequence[float], share: float = 0.06) -> tuple[float, float]:
    """Ends of a linear axis that holds all finite values with some air around them."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite), max(finite)
    air = (high - low) * share or max(abs(high), 1.0) * share
    return low - air, high + air


def decades(values: Sequence[float], floor: float = 1e-4) -> tuple[float, float]:
    """Ends of a logarithmic axis: whole powers of ten around the positive finite values."""
    positive = [max(value, floor) for value in values if math.isfinite(value)]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    return 10.0**low, 10.0 ** max(high, low + 1)


def shown(value: float, digits: int = 3) -> str:
    """A number as a reader wants it: three significant digits, a true minus sign."""
    if not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    form = f".{digits - 1}e" if size >= 5 or size < -4 else f".{min(max(digits - 1 - size, 0), 6)}f"
    return format(value, form).replace("-", MINUS)


def shown_interval(found: Mapping[str, float]) -> str:
    """A figure and its 95 % interval (``value``, ``low``, ``high``) as a reader wants them."""
    return f"{shown(found['value'])} [{shown(found['low'])}, {shown(found['high'])}]"


def tick_label(value: float) -> str:
    """A number on an axis, without digits that say nothing."""
    return f"{value:.10g}".replace("-", MINUS)


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "start", rotate: float | None = None) -> str:
    """A line of text; ``kind`` names classes of the style sheet."""
    turn = f' transform="rotate({rotate:g} {x:.1f} {y:.1f})"' if rotate is not None else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}"{turn}>{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def circle(x: float, y: float, radius: float, kind: str, title: str = "") -> str:
    """A dot: the physics."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{kind}">{_tooltip(title)}</circle>'


def diamond(x: float, y: float, radius: float, kind: str, title: str = "") -> str:
    """A square on its corner: the imagination."""
    points = f"M{x:.1f} {y - radius:.1f}L{x + radius:.1f} {y:.1f}L{x:.1f} {y + radius:.1f}L{x - radius:.1f} {y:.1f}Z"
    return f'<path d="{points}" class="{kind}">{_tooltip(title)}</path>'


def square(x: float, y: float, radius: float, kind: str, title: str = "") -> str:
    """A square on its side."""
    side = radius * 0.9
    points = f"M{x - side:.1f} {y - side:.1f}h{2 * side:.1f}v{2 * side:.1f}h{-2 * side:.1f}Z"
    return f'<path d="{points}" class="{kind}">{_tooltip(title)}</path>'


def triangle(x: float, y: float, radius: float, kind: str, title: str = "") -> str:
    """A triangle on its base."""
    points = f"M{x:.1f} {y - radius:.1f}L{x + radius:.1f} {y + radius:.1f}L{x - radius:.1f} {y + radius:.1f}Z"
    return f'<path d="{points}" class="{kind}">{_tooltip(title)}</path>'


def polyline(points: Sequence[tuple[float, float]], kind: str, title: str = "") -> str:
    """A curve through the points."""
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="{path}" class="{kind}">{_tooltip(title)}</path>'


def band(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]], kind: str) -> str:
    """The area between two curves: an interval."""
    points = [*upper, *reversed(lower)]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z"
    return f'<path d="{path}" class="{kind}"/>'


def figure(width: float, height: float, parts: Sequence[str], title: str, kind: str) -> str:
    """An SVG picture that scales to the width it is given, with a title for screen readers."""
    body = "".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'class="chart {kind}"><title>{escape(title)}</title>{body}</svg>'
    )


def write_figure(path: Path, drawn: str) -> None:
    """Write a picture as a file, which appears whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(drawn, encoding="utf-8")


def horizontal_axis(axis: Axis, y: float, top: float, label: str, count: int = 6) -> list[str]:
    """Ticks, grid and title of an axis that runs along the bottom at ``y``; the grid reaches up to ``top``."""
    parts = [line(axis.start, y, axis.end, y, "axis")]
    for value in axis.ticks(count):
        x = axis(value)
        parts += [line(x, top, x, y, "grid"), text(x, y + 17, tick_label(value), "tick", "middle")]
    return [*parts, text((axis.start + axis.end) / 2, y + 37, label, "label", "middle")]


def vertical_axis(axis: Axis, x: float, right: float, label: str, count: int = 6) -> list[str]:
    """Ticks, grid and title of an axis that runs up the left at ``x``; the grid reaches to ``right``.

    The title stands above the axis and its ticks, where it reads without turning the head.
    """
    parts = [line(x, axis.start, x, axis.end, "axis")]
    for value in axis.ticks(count):
        y = axis(value)
        parts += [line(x, y, right, y, "grid"), text(x - 7, y + 4, tick_label(value), "tick", "end")]
    return [*parts, text(max(2, x - 44), min(axis.start, axis.end) - 14, label, "label")]


def spread_labels(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move labels apart, keeping their order, so that no two are closer than ``gap``."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = [0.0] * len(wanted)
    below = -math.inf
    for index in order:
        below = placed[index] = max(wanted[index], below + gap, low)
    above = high
    for index in reversed(order):
        placed[index] = min(placed[index], above)
        above = placed[index] - gap
    return placed


def _tooltip(title: str) -> str:
    return f"<title>{escape(title)}</title>" if title else ""
