"""From measurements to a report, in two steps that can be taken apart.

``measure`` needs the world, the policies and MuJoCo. ``judge`` needs the measured records alone: it is run once when a
report is made, and again by whoever checks one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wm_gym.evaluation import report
from wm_gym.evaluation.bench import Bench, section_generator
from wm_gym.evaluation.cautions import cautions
from wm_gym.evaluation.records import Record, rounded
from wm_gym.evaluation.sections import SECTIONS
from wm_gym.evaluation.sections.section import untested
from wm_gym.evaluation.trajectories import Recorded
from wm_gym.evaluation.verdicts import judge_uses

Plain = dict[str, Any]

NAMES = tuple(section.name for section in SECTIONS)
HEADER = (
    "schema_version",
    "task",
    "settings",
    "measured",
    "identity",
    "model_card",
    "data",
    "camera",
    "film",
    "limits",
)
"""Keys of ``report.json`` that no record gives."""


def measure(bench: Bench, names: Sequence[str] = NAMES) -> tuple[list[Record], list[Recorded]]:
    """Measure the sections that are named, in the report's order."""
    records: list[Record] = []
    kept: list[Recorded] = []
    for section in SECTIONS:
        if section.name in names:
            measured = section.measure(bench)
            records += [{"section": section.name, **rounded(record)} for record in measured.records]
            kept += measured.trajectories
    return records, kept


def judge(header: Mapping[str, Any], records: Iterable[Record]) -> Plain:
    """The values of ``report.json``.

    Args:
        header: the values of ``HEADER``.
        records: of :func:`measure`.
    """
    by_section: dict[str, list[Record]] = {name: [] for name in NAMES}
    for record in records:
        by_section[record["section"]].append({key: value for key, value in record.items() if key != "section"})
    values: Plain = {name: header[name] for name in HEADER}
    known: Plain = {"task": header["task"], "settings": header["settings"], "records": by_section}
    gates: list[Plain] = []
    for section in SECTIONS:
        if section.name in header["measured"]:
            generator = section_generator(header["settings"]["seed"], f"judge {section.name}")
            found = rounded(section.judge(by_section[section.name], known, generator))
        else:
            found = untested("this section was not asked for")
        known[section.name] = values[section.name] = found
        gates += found.get("gates", [])
    values["verdicts"] = rounded(judge_uses(gates))
    values["warnings"] = cautions(values)
    values["headline"], values["summary"] = report.headline(values), report.summary(values)
    return values
