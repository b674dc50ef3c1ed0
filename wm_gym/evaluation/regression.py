"""What got worse between two reports, beyond what chance explains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wm_gym.errors import DataError

ORDER = ("PASS", "INCONCLUSIVE", "FAIL")
FIGURES: Mapping[str, tuple[tuple[str, ...], bool]] = {
    "spearman": (("ranking", "spearman"), True),
    "pearson": (("ranking", "pearson"), True),
    "kendall": (("ranking", "kendall"), True),
    "mmrv": (("ranking", "mmrv"), False),
    "regret": (("ranking", "regret"), False),
    "absolute error of returns": (("ranking", "absolute_error"), False),
    "transfer": (("training", "transfer"), True),
    "exploitation": (("exploit", "exploitation"), False),
    "sign agreement": (("actions", "sign_agreement"), True),
    "implausible episodes": (("physics", "implausible"), False),
    "planning gap": (("planning", "gap"), False),
}
"""Name -> where it stands in ``report.json``, and whether more is better."""


@dataclass(frozen=True)
class Compared:
    """A figure in both reports."""

    name: str
    baseline: Mapping[str, Any]
    candidate: Mapping[str, Any]
    worse: bool
    """The candidate's whole interval lies on the worse side of the baseline's."""


def compare_reports(baseline: Mapping[str, Any], candidate: Mapping[str, Any]) -> list[Compared]:
    """Every figure that both reports hold.

    Raises:
        DataError: they judge different tasks.
    """
    if baseline["task"]["name"] != candidate["task"]["name"]:
        raise DataError(
            f"the baseline judges {baseline['task']['name']} and the candidate {candidate['task']['name']}: "
            "two reports of one task are compared"
        )
    found = []
    for name, (place, more_is_better) in FIGURES.items():
        pair = [_at(report, place) for report in (baseline, candidate)]
        if all(figure is not None and figure["low"] is not None for figure in pair):
            found.append(_compare(name, pair[0], pair[1], more_is_better))
    errors = [{row["horizon"]: row["model"] for row in r["open_loop"].get("table", [])} for r in (baseline, candidate)]
    for horizon in sorted(errors[0].keys() & errors[1].keys()):
        found.append(_compare(f"open-loop nRMSE at {horizon}", errors[0][horizon], errors[1][horizon], False))
    return found


def worse_verdicts(baseline: Mapping[str, Any], candidate: Mapping[str, Any]) -> list[str]:
    """Uses whose verdict got worse; a use that is no longer tested is one of them."""
    found = []
    for use, before in baseline["verdicts"].items():
        old, new = before["verdict"], candidate["verdicts"][use]["verdict"]
        if old in ORDER and (new not in ORDER or ORDER.index(new) > ORDER.index(old)):
            found.append(f"{use}: {old} became {new}")
    return found


def _at(report: Mapping[str, Any], place: tuple[str, ...]) -> Any:
    value: Any = report
    for key in place:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _compare(name: str, before: Mapping[str, Any], after: Mapping[str, Any], more_is_better: bool) -> Compared:
    worse = after["high"] < before["low"] if more_is_better else after["low"] > before["high"]
    return Compared(name, before, after, bool(worse))
