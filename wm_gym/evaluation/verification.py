"""Everything that can be checked of a report's folder: that it is whole, and that its figures follow from its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from wm_gym.checks import Check, attempt, check_files, check_provenance, not_looked_at
from wm_gym.data.tables import UNREADABLE, open_parquet
from wm_gym.errors import DataError
from wm_gym.evaluation.trajectories import SCHEMA
from wm_gym.files import read_json

_FILES = {"report.html", "report.json", "trajectories.parquet"}
_REMEDY = "make the report again"
_WANTED = (
    "data.licence",
    "data.sha256",
    "identity.model.sha256",
    "identity.commands",
    "identity.versions",
    "identity.seeds",
)


def check_report(folder: Path) -> Iterator[Check]:
    """Hashes, provenance, the trajectories, and every return computed again from them."""
    manifest, check = attempt("manifest", partial(_read_manifest, folder), lambda m: f"{len(m['files'])} files")
    yield check
    if manifest is not None:
        yield check_files(folder, manifest["files"], ("MANIFEST.json",), _REMEDY)
    values, check = attempt("report", partial(read_json, folder / "report.json"), lambda v: str(v.get("headline"))[:60])
    yield check
    if values is not None:
        yield check_provenance(folder / "report.json", values, _WANTED, _REMEDY)
    path = folder / "trajectories.parquet"
    table, check = attempt("trajectories", partial(_read_trajectories, path), lambda t: f"{t.num_rows} steps")
    yield check
    if values is None or table is None:
        yield not_looked_at("returns", "report and the trajectories")
        return
    yield _check_returns(folder / "report.json", values, table)


def _read_manifest(folder: Path) -> dict[str, Any]:
    manifest = read_json(folder / "MANIFEST.json")
    if not isinstance(manifest.get("files"), dict) or not manifest["files"].keys() >= _FILES:
        raise DataError(f"{folder / 'MANIFEST.json'}: does not list {', '.join(sorted(_FILES))}; {_REMEDY}")
    return manifest


def _read_trajectories(path: Path) -> pa.Table:
    """The table, if its columns are those that were written."""
    try:
        table = open_parquet(path).read(use_threads=False)
        table.validate(full=True)  # that text is text, among other things
    except UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: damaged parquet ({reason}); {_REMEDY}") from error
    if not table.schema.equals(SCHEMA):
        raise DataError(f"{path}: its columns are not those of trajectories; {_REMEDY}")
    return table


def _check_returns(place: Path, values: Mapping[str, Any], table: pa.Table) -> Check:
    """Mean returns as the report states them, against the rewards of the trajectories."""
    counted = _mean_returns(table)
    contenders, found = _of(values, "closed_loop").get("contenders"), []
    for row in contenders if isinstance(contenders, list) else []:
        for world, key in (("physics", "physical"), ("imagination", "imagined")):
            mean, stated = counted.get((world, str(_of({"row": row}, "row").get("name")))), _of(row, key).get("value")
            if mean is None:
                continue  # measured earlier: the report keeps its figures alone
            if not isinstance(stated, int | float) or not np.isclose(stated, mean, rtol=1e-3, atol=1e-3):
                found.append(
                    f"{place}: {row['name']}: return in {world} is {stated!r}, its steps give {mean:.4f}; {_REMEDY}"
                )
    return Check("returns", f"{len(counted)} means of returns, counted again from the steps", tuple(found))


def _mean_returns(table: pa.Table) -> dict[tuple[str, str], float]:
    """(world, policy) -> mean over episodes of the sum of rewards, of the section ``closed_loop``."""
    grouped = table.group_by(["section", "world", "policy", "episode"]).aggregate([("reward", "sum")]).to_pylist()
    sums: dict[tuple[str, str], list[float]] = {}
    for row in grouped:
        if row["section"] == "closed_loop":
            sums.setdefault((str(row["world"]), str(row["policy"])), []).append(float(row["reward_sum"] or 0.0))
    return {key: float(np.mean(values)) for key, values in sums.items()}


def _of(values: Any, key: str) -> Mapping[str, Any]:
    """A mapping inside another, empty where it is none."""
    inner = values.get(key) if isinstance(values, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}
