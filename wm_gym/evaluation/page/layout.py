"""The page from top to bottom: verdicts, cautions, every section, what exactly was judged.

No script, no external resource, light and dark, printable. Every figure of a table is a ``<data>`` element that carries
the exact value of the JSON beside the rounded one that is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from wm_gym.evaluation.charts import NOTHING, shown
from wm_gym.evaluation.film import Film
from wm_gym.evaluation.page import policies, provenance, world
from wm_gym.evaluation.page.parts import GATES, number, verdict_mark
from wm_gym.evaluation.records import EPISODES

Plain = Mapping[str, Any]

USES = {
    "rank_policies": ("Rank policies", "Does it order policies as MuJoCo does?"),
    "train_policy": ("Train a policy", "Does what is learnt in it work in MuJoCo?"),
    "plan": ("Plan", "Are plans made in it good in MuJoCo?"),
    "augment_data": ("Augment data", "Are short imagined pieces as good as recorded ones?"),
}


def render_page(report: Plain, film: Film | None) -> str:
    """The whole page as text."""
    template = Template(files("wm_gym.evaluation").joinpath("report.html").read_text(encoding="utf-8"))
    sections = [
        policies.ranking(report["ranking"]),
        policies.closed_loop(report["closed_loop"]),
        policies.training(report["training"]),
        policies.exploit(report["exploit"]),
        policies.planning(report["planning"]),
        world.open_loop(report["open_loop"]),
        provenance.film(report["film"], film),
        world.actions(report["actions"]),
        world.physics(report["physics"]),
        world.uncertainty(report["uncertainty"]),
        world.camera(report["camera"]),
        policies.reality_gap(report["reality_gap"]),
        world.robustness(report["robustness"]),
        world.speed(report["speed"]),
        world.controls(report["controls"]),
        provenance.model_card(report["model_card"], report["data"]),
        provenance.identity(report),
        provenance.limits(report["limits"]),
    ]
    identity = report["identity"]
    return template.substitute(
        title=f"{escape(report['task']['name'])}: imagination held against MuJoCo",
        headline=escape(report["headline"]),
        summary=escape(report["summary"]),
        verdicts="".join(_verdict(*USES[use], entry) for use, entry in report["verdicts"].items()),
        warnings=_warnings(report["warnings"]),
        sections="\n".join(sections),
        footer=f"Written by wm_gym {escape(identity['versions']['wm_gym'])} on {escape(identity['written'])} in "
        f"{number(identity['wall_seconds'])} s. Every figure is in <code>report.json</code> and can be computed again "
        f"from <code>{EPISODES}</code> with <code>benchmarks/check_report.py</code>; steps are in "
        "<code>trajectories.parquet</code>.",
    )


def _verdict(name: str, question: str, entry: Plain) -> str:
    kind = entry["verdict"].lower().replace(" ", "-")
    return (
        f'<div class="use {kind}"><b>{name}</b>{verdict_mark(entry["verdict"])}<small>{question}</small>'
        f'<p class="small">{_because(entry)}</p></div>'
    )


def _because(entry: Plain) -> str:
    """The figure that decided, against its gate."""
    gate = escape(GATES[entry["decided_by"]])
    if entry["verdict"] == "NOT TESTED":
        return f"not measured: {gate}"
    if entry["figure"] is None:
        return f"{gate}: does not exist ({entry['sense']} {shown(entry['gate'])} asked)"
    ends = NOTHING if entry["low"] is None else f"{number(entry['low'])} to {number(entry['high'])}"
    return f"{gate}: {number(entry['figure'])} ({ends}); {entry['sense']} {number(entry['gate'])} asked"


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    listed = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<aside class="notes"><h2>Before you believe it</h2><ul>{listed}</ul></aside>'
