"""Check a folder that wm_gym wrote: ``python -m wm_gym.verify FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from wm_gym.checks import Check
from wm_gym.data.verification import check_dataset
from wm_gym.errors import DataError, WorldModelError
from wm_gym.evaluation.verification import check_report
from wm_gym.models.verification import check_model
from wm_gym.policies.verification import check_agent, check_policy

_USAGE = """usage: python -m wm_gym.verify FOLDER

Checks the folder of a dataset, a model, a policy, an agent or a report: hashes, provenance and licence, shapes, finite
numbers, frames against the table, times. Prints what was checked; names everything that is wrong and how to mend it,
and exits with 1 if anything is."""


@dataclass(frozen=True)
class Kind:
    """A kind of folder: the files by any of which it is known, and what checks it."""

    name: str
    marks: tuple[str, ...]
    check: Callable[[Path], Iterator[Check]]


KINDS = (
    Kind("report", ("report.json", "trajectories.parquet"), check_report),
    Kind("agent", ("policy/policy.json", "policy/policy.safetensors"), check_agent),
    Kind("policy", ("policy.json", "policy.safetensors"), check_policy),
    Kind("dataset", ("meta/MANIFEST.json", "meta/info.json", "meta/task.json"), check_dataset),
    Kind("model", ("model.safetensors", "config.json"), check_model),
)


def find_kind(folder: Path) -> Kind:
    """What a folder holds.

    Raises:
        DataError: there is no folder, it is not finished, or wm_gym did not write it.
    """
    if not folder.is_dir():
        for left, writer in ((".staging", "recording"), (".partial", "training")):
            if folder.with_name(folder.name + left).is_dir():
                raise DataError(f"{folder}: this {writer} is not finished; repeat its command, it goes on from there")
        raise DataError(f"{folder}: no such folder; name that of a dataset, a model, a policy, an agent or a report")
    for kind in KINDS:
        if any((folder / mark).exists() for mark in kind.marks):
            return kind
    known = "; ".join(f"{kind.name}: {' or '.join(kind.marks)}" for kind in KINDS)
    raise DataError(f"{folder}: not a folder of wm_gym (none of {known})")


def verify_folder(folder: Path | str) -> Iterator[Check]:
    """Every check of a folder, made one by one as they are asked for.

    Raises:
        DataError: it is no folder of wm_gym.
    """
    return find_kind(Path(folder)).check(Path(folder))


def main(arguments: list[str]) -> int:
    """Verify the folder that is named on the command line; returns the status to exit with."""
    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        print(_USAGE)
        return 0 if arguments in (["-h"], ["--help"]) else 1
    folder = Path(arguments[0])
    try:
        print(f"{folder}: {find_kind(folder).name}")
        checks = list(tqdm(verify_folder(folder), desc="verify", unit="check", leave=False, disable=None))
    except WorldModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    faults = [fault for check in checks for fault in check.faults]
    for check in checks:
        verdict = f"{len(check.faults)} wrong" if check.faults else "ok" if check.made else "-"
        print(f"  {check.subject:<16}{check.found[:68]:<70}{verdict:>8}")
    for fault in dict.fromkeys(faults):
        print(f"error: {fault}", file=sys.stderr)
    print(f"{len(faults)} faults" if faults else "nothing is wrong")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
