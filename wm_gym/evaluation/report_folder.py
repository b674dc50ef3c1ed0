"""A report as a folder, and whether what it says follows from what was measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from wm_gym.errors import DataError
from wm_gym.evaluation.film import Film
from wm_gym.evaluation.judging import HEADER, NAMES, judge
from wm_gym.evaluation.page import render_page
from wm_gym.evaluation.records import EPISODES, Record, read_records, write_records
from wm_gym.evaluation.report import SCHEMA_VERSION, method_rows
from wm_gym.evaluation.sections import SECTIONS
from wm_gym.evaluation.trajectories import Recorded, write_trajectories
from wm_gym.files import changed_files, file_hash, missing_files, read_json, replacing, write_json

Plain = dict[str, Any]

FILES = ("report.html", "trajectories.parquet", "report.json", EPISODES, "result.json")
"""Of a report's folder, beside its ``MANIFEST.json``."""
REMEDY = "make the report again"


def write_report(
    folder: Path, values: Plain, records: Sequence[Record], kept: Sequence[Recorded], film: Film | None
) -> Path:
    """Write the files of a report and the manifest of their hashes; returns the page's path.

    All of them replace those of an older report, and none does before all could be written.
    """
    with ExitStack() as files:
        new = {name: files.enter_context(replacing(folder / name)) for name in FILES}
        manifest = files.enter_context(replacing(folder / "MANIFEST.json"))
        write_records(new[EPISODES], records)
        values = values | {"episodes_sha256": repeatable_digest(records)}
        new["report.html"].write_text(render_page(values, film), encoding="utf-8")
        write_trajectories(new["trajectories.parquet"], kept, {"task": str(values["task"]["name"])})
        write_json(new["report.json"], values)
        write_json(new["result.json"], summarize(values))
        hashes = {name: file_hash(path) for name, path in new.items()}
        write_json(manifest, {"schema_version": SCHEMA_VERSION, "kind": "report", "files": hashes})
    return folder / "report.html"


def repeatable_digest(records: Sequence[Record]) -> str:
    """Sha256 of the records that the same seed gives again: those of speed would make every report another."""
    once = {section.name for section in SECTIONS if not section.repeatable}
    digest = hashlib.sha256()
    for record in records:
        if record["section"] not in once:
            digest.update(json.dumps(record, allow_nan=False).encode())
    return digest.hexdigest()


def summarize(values: Plain) -> Plain:
    """The few figures that other programs read."""
    closed, loop = values["closed_loop"], values["open_loop"]
    rows = method_rows(closed) if closed["tested"] else []
    return {
        "task": values["task"]["name"],
        "headline": values["headline"],
        "verdicts": values["verdicts"],
        "gates": {gate["name"]: gate for name in NAMES for gate in values[name].get("gates", [])},
        "panel": values["ranking"].get("policies"),
        "closed_loop": [
            {"name": row["name"], "kind": row["kind"], **{key: row[key] for key in ("physical", "imagined", "gap")}}
            for row in rows
        ],
        "valid_time": loop["valid_time"] if loop["tested"] else None,
        "warnings": values["warnings"],
        "command": values["identity"]["commands"][-1]["command"],
        **{name: values["identity"][name] for name in ("wall_seconds", "machine", "versions")},
    }


def read_report(folder: Path) -> Plain:
    """The values of a report.

    Raises:
        DataError: there is none, it is damaged, or it was written in another schema.
    """
    path = folder / "report.json"
    values = read_json(path)
    if values.get("schema_version") != SCHEMA_VERSION or not set(HEADER) <= values.keys():
        schema = values.get("schema_version")
        raise DataError(f"{path}: schema {schema!r}, this version reads {SCHEMA_VERSION}; {REMEDY}")
    return values


def recompute(folder: Path) -> list[str]:
    """Compute every figure of a report again from its raw records: what differs, one sentence each.

    What no record gives (the camera, the identity, the page itself) is held against the hashes of the manifest.

    Raises:
        DataError: a file is missing or damaged.
    """
    stated, summary = read_report(folder), read_json(folder / "result.json")
    found = _changed(folder)
    records = read_records(folder / EPISODES)
    try:
        again = judge(stated, records) | {"episodes_sha256": repeatable_digest(records)}
        summary_again = summarize(again)
    except (KeyError, TypeError, ValueError, IndexError, StopIteration) as error:
        raise DataError(
            f"{folder / EPISODES}: the figures cannot be computed from it ({type(error).__name__}: {error}); {REMEDY}"
        ) from error
    for name, one, other in (("", stated, again), ("result.json: ", summary, summary_again)):
        found += [
            f"{name}{place}: {said!r} is stated, {computed!r} follows"
            for place, said, computed in differences(one, other)
        ]
    return found


def _changed(folder: Path) -> list[str]:
    """Files that are missing, or are not those that were written."""
    files = read_json(folder / "MANIFEST.json").get("files")
    if not isinstance(files, Mapping) or not files.keys() >= set(FILES):
        raise DataError(f"{folder / 'MANIFEST.json'}: does not list {', '.join(FILES)}; {REMEDY}")
    return [*missing_files(folder, files, REMEDY), *changed_files(folder, files, REMEDY)]


def differences(stated: Any, computed: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two plain values differ: the path, and both entries."""
    if isinstance(stated, Mapping) and isinstance(computed, Mapping):
        for key in sorted(stated.keys() | computed.keys()):
            inner = f"{place}.{key}" if place else str(key)
            yield from differences(stated.get(key, _NOTHING), computed.get(key, _NOTHING), inner)
    elif isinstance(stated, list) and isinstance(computed, list) and len(stated) == len(computed):
        for index, (one, other) in enumerate(zip(stated, computed, strict=True)):
            yield from differences(one, other, f"{place}[{index}]")
    elif type(stated) is not type(computed) or stated != computed:
        yield place, stated, computed


_NOTHING = "(nothing)"


def count_figures(value: Any) -> int:
    """How many numbers plain values hold."""
    if isinstance(value, Mapping):
        return sum(count_figures(entry) for entry in value.values())
    if isinstance(value, list):
        return sum(count_figures(entry) for entry in value)
    return int(isinstance(value, int | float) and not isinstance(value, bool))
