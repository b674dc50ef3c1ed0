"""``report.html``: one self-contained page, drawn from the values of ``report.json`` and the film.

No script, no external resource, light and dark, printable. Every figure of a table is a ``<data>`` element that carries
the exact value of the JSON beside the rounded one that is read.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from wm_gym.evaluation import charts, figures
from wm_gym.evaluation.charts import shown
from wm_gym.evaluation.figures import NARROW, WIDE
from wm_gym.evaluation.film import Film
from wm_gym.evaluation.report import method_rows

Plain = Mapping[str, Any]

_SCATTER = 500.0


def render_page(report: Plain, film: Film | None) -> str:
    """The whole page as text."""
    template = Template(files("wm_gym.evaluation").joinpath("report.html").read_text(encoding="utf-8"))
    sections = [
        _returns(report["returns"]),
        _episodes(report["returns"]),
        _open_loop(report["open_loop"]) if report["open_loop"] else "",
        _film(report["film"], film),
        _dimensions(report["open_loop"]) if report["open_loop"] else "",
        _identity(report),
        _limits(report["limits"]),
    ]
    identity = report["identity"]
    return template.substitute(
        title=f"{escape(report['task']['name'])}: imagination held against MuJoCo",
        headline=escape(report["headline"]),
        summary=escape(report["summary"]),
        tiles=_tiles(report),
        warnings=_warnings(report["warnings"]),
        sections="\n".join(sections),
        footer=f"Written by wm_gym {escape(identity['versions']['wm_gym'])} on {escape(identity['written'])} in "
        f"{number(identity['wall_seconds'])} s. Every figure is in <code>report.json</code>, every step behind them in "
        "<code>trajectories.parquet</code>, in this folder.",
    )


def number(value: float | None, unit: str = "") -> str:
    """A rounded figure that carries the exact one."""
    if value is None:
        return charts.NOTHING
    text = f"{value:,}" if isinstance(value, int) else shown(value)
    return f'<data value="{value!r}">{text}{unit}</data>'


def interval(figure: Plain | None) -> str:
    """A figure with its interval on a second line."""
    if figure is None or figure["value"] is None:
        return charts.NOTHING
    if figure["low"] is None:
        return number(figure["value"])
    return f"<span>{number(figure['value'])}<small>{number(figure['low'])} to {number(figure['high'])}</small></span>"


def _tiles(report: Plain) -> str:
    tiles = []
    trained = [row for row in method_rows(report["returns"]) if row["kind"] == "imagination"]
    for row in trained[:1]:
        tiles += [
            _tile("In MuJoCo", row["physical"], "physical", "mean return"),
            _tile("Imagined", row["imagined"], "imagined", "mean return, same starts"),
            _tile("Gap", row["gap"], "", "imagined minus MuJoCo"),
        ]
    if report["open_loop"]:
        valid = report["open_loop"]["valid_time"]
        steps = f"{'≥ ' if valid['censored'] else ''}{number(valid['steps'])}"
        limit = "never above 0.3" if valid["censored"] else "first nRMSE above 0.3"
        tiles.append(
            f'<div class="tile"><b>Valid prediction time</b><span class="big">{steps}</span>'
            f"<small>steps ({number(valid['seconds'])} s)</small><small>{limit}</small></div>"
        )
    return "".join(tiles)


def _tile(name: str, figure: Plain | None, kind: str, note: str) -> str:
    if figure is None:
        return ""
    return (
        f'<div class="tile {kind}"><b>{name}</b><span class="big">{number(figure["value"])}</span>'
        f"<small>{number(figure['low'])} to {number(figure['high'])}</small><small>{note}</small></div>"
    )


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    listed = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<aside class="notes"><h2>Before you believe it</h2><ul>{listed}</ul></aside>'


def _table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Cells carry their column's name, shown where the page is too narrow for columns."""
    body = "".join(
        f'<tr class="{kind}">' + "".join(_cell(name, cell) for name, cell in zip(head, cells, strict=True)) + "</tr>"
        for kind, cells in rows
    )
    titles = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def _cell(name: str, content: str) -> str:
    kind = ' class="none"' if content == charts.NOTHING else ""
    return f'<td data-label="{escape(name)}"{kind}>{content}</td>'


def _chart(draw: Callable[[float], str], caption: str = "") -> str:
    note = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure class="card">{draw(WIDE)}{draw(NARROW)}{note}</figure>'


_KEY = (
    '<p class="key"><span class="physical">● in MuJoCo</span> &nbsp; <span class="imagined">◆ imagined</span> &nbsp; '
    "with 95 % intervals</p>"
)


def _returns(section: Plain) -> str:
    rows = method_rows(section)
    parts = [
        "<h2>What it earns in each world</h2>",
        f"<p>Return of an episode, {section['episodes']} episodes in each world. MuJoCo is reset with the seeds "
        f"{section['first_seed']} to {section['first_seed'] + section['episodes'] - 1}; the imagination begins at the "
        "first observations that MuJoCo then showed. The gap is imagined minus MuJoCo, start by start: above zero, "
        "the imagination promises too much.</p>",
        f'<div class="card">{_returns_table(section)}</div>',
        _KEY,
        _chart(lambda width: figures.return_dots(rows, width, "Return of each method in each world")),
    ]
    if figures.dominated(section["contenders"]):
        trained = [r for r in [*section["pooled"], *section["contenders"]] if r["kind"] in ("imagination", "control")]
        note = "The same without the untrained ones, each training seed by itself."
        parts.append(_chart(lambda width: figures.return_dots(trained, width, "Return of trained policies"), note))
    parts += [_comparisons(section["comparisons"])]
    return "".join(parts)


def _returns_table(section: Plain) -> str:
    head = ["", "in MuJoCo", "imagined", "gap", "correlation of episodes"]
    rows = []
    for kind, entries in (("pooled", section["pooled"]), ("", section["contenders"])):
        for row in entries:
            cells = [
                f"{escape(row['name'])}<small>{_details(row)}</small>",
                interval(row["physical"]),
                interval(row["imagined"]),
                interval(row["gap"]),
                interval(row.get("pearson")),
            ]
            rows.append((kind, cells))
    return _table(head, rows)


def _details(row: Plain) -> str:
    """What made a policy, in a few words."""
    if "seeds" in row:
        return "each seed counts alike; interval over seeds, then episodes"
    known = row.get("details", {})
    words = []
    if known.get("real_steps"):
        words.append(f"{known['real_steps']:,} real steps")
    if known.get("imagined_steps"):
        words.append(f"{known['imagined_steps']:,} imagined steps")
    if known.get("note"):
        words.append(str(known["note"]))
    return escape(", ".join(words))


def _comparisons(comparisons: Sequence[Plain]) -> str:
    if not comparisons:
        return ""
    rows = [
        ("", [f"trained in imagination, compared with {escape(c['name'])}", interval(c["difference"])])
        for c in comparisons
    ]
    return (
        '<div class="card">' + _table(["", "difference of returns in MuJoCo"], rows) + '<p class="caption">Above zero: '
        "training in imagination earned more. An interval that holds zero decides nothing.</p></div>"
    )


def _episodes(section: Plain) -> str:
    drawn = [row for row in section["contenders"] if row["imagined_returns"]]
    if not drawn:
        return ""
    trained = [row for row in drawn if row["kind"] in ("imagination", "control")]
    left_out = ""
    # Clouds that lie far apart would each shrink to a speck: then only the trained policies are drawn.
    if trained and figures.dominated(section["contenders"]):
        drawn, left_out = trained, " Random actions earn so much less that they are not drawn."
    listed = "".join(
        f"<li>{escape(row['name'])}: correlation {number((row['pearson'] or {}).get('value'))} (Pearson), "
        f"{number((row['spearman'] or {}).get('value'))} (Spearman); off by "
        f"{number(row['absolute_error']['value'])} per episode</li>"
        for row in trained or drawn
    )
    drawings = figures.return_scatter(drawn, _SCATTER) + figures.return_scatter(drawn, NARROW)
    return (
        "<h2>Episode by episode</h2>"
        f'<figure class="card"><div class="beside"><div>{drawings}</div><div><p>Each dot is one start, played by the '
        "same policy in both worlds. On the dashed line the imagination was right; above it, it promised too much."
        f'{left_out}</p><ul class="small">{listed}</ul></div></div></figure>'
    )


def _open_loop(section: Plain) -> str:
    behaviours = ", ".join(f"{count} {escape(name)}" for name, count in section["behaviours"].items())
    head = ["steps", "world model", "best naive guess", "MuJoCo, slightly off", "skill", "times the floor"]
    rows = [
        (
            "",
            [
                f"{row['horizon']}<small>{row['seconds']:.3g} s, {row['running']} episodes</small>",
                interval(row["model"]),
                f"<span>{number(row['best_baseline'])}<small>{escape(row['best_baseline_name'])}</small></span>",
                interval(row["floor"]),
                interval(row["skill"]),
                number(row["excess"]),
            ],
        )
        for row in section["table"]
    ]
    reward = section["reward"]["model"]["value"]
    acting = "; ".join(f"{escape(r['behaviour'])} {number(r['error']['value'])}" for r in section["by_behaviour"])
    return (
        "<h2>How long its predictions hold</h2>"
        f"<p>{section['episodes']} episodes that this report recorded in MuJoCo for itself ({behaviours}; seeds from "
        f"{section['first_seed']:,}). The model sees the first {section['start'] + 1} observations, then only the "
        f"actions. Errors are in {escape(section['unit'])}: 0 is exact, about 1.4 is no better than a random moment of "
        "the data. "
        f"The floor is MuJoCo against itself, its joints started {section['floor_noise']:g} off.</p>"
        + _chart(
            lambda width: figures.error_curves(section, width),
            "Shaded: 95 % intervals over episodes. Grey: guesses that know no physics.",
        )
        + f'<div class="card">{_table(head, rows)}<p class="caption">Skill is 1 {charts.MINUS} error / best naive '
        f"guess: 1 is exact, 0 no better. The predicted reward is off by {number(reward[0])} standard deviations at "
        f"the first step and {number(reward[-1])} at the last. The model's error after {section['horizons'][-1]} steps "
        f"by who acts: {acting}.</p></div>"
    )


def _film(section: Plain, film: Film | None) -> str:
    title = "<h2>Side by side</h2>"
    if film is None:
        return f"{title}<p class='quiet'>No film: {escape(section['reason'])}</p>"
    video = base64.b64encode(film.video).decode()
    strip = base64.b64encode(film.strip).decode()
    steps = ", ".join(str(step) for step in film.strip_steps)
    return (
        f"{title}<p>{escape(section['caption'])}</p>"
        f'<figure class="card"><video controls loop muted playsinline preload="auto" width="{film.width}" '
        f'height="{film.height}" src="data:video/mp4;base64,{video}"></video>'
        f'<img class="strip" alt="Stills of MuJoCo above and the imagination below at steps {steps}" '
        f'src="data:image/jpeg;base64,{strip}"><figcaption>Stills of the first start at steps {steps}: MuJoCo above '
        "(blue frame), imagined below (orange frame).</figcaption></figure>"
    )


def _dimensions(section: Plain) -> str:
    rows = section["dimensions"]
    if not rows:
        return ""
    more = f" The {figures.MOST_ROWS} worst of {len(rows)} are shown." if len(rows) > figures.MOST_ROWS else ""
    still = f" {len(section['still'])} numbers never move in the data and are left out." if section["still"] else ""
    return (
        "<h2>Which numbers drift</h2>"
        f"<p>The same errors for each number of the observation by itself.{more}{still}</p>"
        + _chart(lambda width: figures.dimension_dots(section, width))
    )


def _identity(report: Plain) -> str:
    identity = report["identity"]
    parts = ["<h2>What exactly was judged</h2>", '<div class="card">']
    for name in ("model", "data", "policies", "machine", "versions", "seeds", "settings"):
        entries = report["data"] if name == "data" else identity.get(name)
        if entries:
            parts.append(f"<h3>{_IDENTITY_TITLES[name]}</h3>{_definitions(entries)}")
    parts.append("</div><h3>Commands</h3>")
    for command in identity["commands"]:
        parts.append(f'<p class="small quiet">{escape(command["makes"])}</p><pre>{escape(command["command"])}</pre>')
    return "".join(parts)


_IDENTITY_TITLES = {
    "model": "World model",
    "data": "Data",
    "policies": "Policies",
    "machine": "Machine",
    "versions": "Versions",
    "seeds": "Seeds",
    "settings": "Settings",
}


def _definitions(entries: Plain) -> str:
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


def _limits(limits: Sequence[str]) -> str:
    listed = "".join(f"<li>{escape(limit)}</li>" for limit in limits)
    return f"<h2>What this report does not show</h2><ul>{listed}</ul>"
