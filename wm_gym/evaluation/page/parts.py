"""What the page is put together from: figures that carry their exact value, tables, charts, lists of facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from wm_gym.evaluation import charts
from wm_gym.evaluation.charts import shown
from wm_gym.evaluation.figures import NARROW, WIDE

Plain = Mapping[str, Any]


def number(value: float | None, unit: str = "") -> str:
    """A rounded figure that carries the exact one."""
    if value is None:
        return charts.NOTHING
    text = f"{value:,}" if isinstance(value, int) else shown(value)
    return f'<data value="{value!r}">{text}{unit}</data>'


def share(value: float | None) -> str:
    """A share as a percentage, carrying the exact value."""
    return charts.NOTHING if value is None else f'<data value="{value!r}">{value:.0%}</data>'


def interval(figure: Plain | None) -> str:
    """A figure with its interval on a second line."""
    if figure is None or figure["value"] is None:
        return charts.NOTHING
    if figure["low"] is None:
        return number(figure["value"])
    return f"<span>{number(figure['value'])}<small>{number(figure['low'])} to {number(figure['high'])}</small></span>"


def table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], caption: str = "") -> str:
    """Rows of (class, cells). Cells carry their column's name, shown where the page is too narrow for columns."""
    body = "".join(
        f'<tr class="{kind}">' + "".join(_cell(name, cell) for name, cell in zip(head, cells, strict=True)) + "</tr>"
        for kind, cells in rows
    )
    titles = "".join(f"<th>{escape(name)}</th>" for name in head)
    note = f'<p class="caption">{caption}</p>' if caption else ""
    return f'<div class="card"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>{note}</div>'


def _cell(name: str, content: str) -> str:
    kind = ' class="none"' if content == charts.NOTHING else ""
    return f'<td data-label="{escape(name)}"{kind}>{content}</td>'


def chart(draw: Callable[[float], str], caption: str = "") -> str:
    """A figure in its wide and its narrow cut."""
    note = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure class="card">{draw(WIDE)}{draw(NARROW)}{note}</figure>'


def verdict_mark(verdict: str) -> str:
    """A verdict in its colour and in words: colour alone says nothing to some."""
    kind = verdict.lower().replace(" ", "-")
    return f'<span class="verdict {kind}">{verdict}</span>'


def gates(section: Plain) -> str:
    """The gates that a section decides."""
    if not section.get("gates"):
        return ""
    rows = [
        ("", [escape(GATES[g["name"]]), interval(g), escape(limits(g)), verdict_mark(g["verdict"])])
        for g in section["gates"]
    ]
    return table(["gate", "figure", "limit", "verdict"], rows)


def limits(gate: Plain) -> str:
    """A gate's limits in words."""
    low, high = gate["at_least"], gate["at_most"]
    if low is not None and high is not None:
        return f"{shown(low)} to {shown(high)}"
    return f"at least {shown(low)}" if low is not None else f"at most {shown(high)}"


GATES = {
    "spearman": "rank correlation with MuJoCo (Spearman)",
    "pearson": "linear correlation with MuJoCo (Pearson)",
    "regret": "regret of trusting the best one",
    "mmrv": "mean maximum rank violation",
    "transfer": "share of MuJoCo's gain that training in imagination keeps",
    "exploitation": "imagined return that does not exist",
    "planning_gap": "share of the gain that plans lose",
    "sensitivity": "size of an action's effect",
    "sign_agreement": "effects with the right sign",
    "skill": "skill of short predictions",
    "implausible": "short pieces against the laws of the robot",
}


def title(text: str, section: Plain | None = None) -> str:
    """A section's heading; of one that did not run, with the reason."""
    heading = f"<h2>{escape(text)}</h2>"
    if section is None or section["tested"]:
        return heading
    return f'{heading}<p class="quiet">{verdict_mark("NOT TESTED")} {escape(section["reason"])}.</p>'


def definitions(entries: Plain) -> str:
    """Facts as a list of names and values."""
    return (
        "<dl>"
        + "".join(
            f"<dt>{escape(key.replace('_', ' '))}</dt><dd>{_definition(value)}</dd>"
            for key, value in entries.items()
            if value is not None
        )
        + "</dl>"
    )


def _definition(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return escape(", ".join(f"{key} {entry}" for key, entry in value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return escape(", ".join(str(entry) for entry in value)) or "none"
    content = escape(str(value))
    return f"<code>{content}</code>" if len(content) == 64 and " " not in content else content
