"""What got worse between two reports, beyond what chance explains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wm_gym.errors import DataError

ORDER = ("PASS", "INCONCLUSIVE", "FAIL")
MORE, LESS = "more is better", "less is better"
FIGURES: Mapping[str, tuple[tuple[str, ...], str | float]] = {
    "spearman": (("ranking", "spearman"), MORE),
    "pearson": (("ranking", "pearson"), MORE),
    "kendall": (("ranking", "kendall"), MORE),
    "mmrv": (("ranking", "mmrv"), LESS),
    "regret": (("ranking", "regret"), LESS),
    "bias, off 0": (("ranking", "bias"), 0.0),
    "absolute error of returns": (("ranking", "absolute_error"), LESS),
    "transfer": (("training", "transfer"), MORE),
    "exploitation": (("exploit", "exploitation"), LESS),
    "sensitivity, off 1": (("actions", "sensitivity"), 1.0),
    "sign agreement": (("actions", "sign_agreement"), MORE),
    "implausible episodes": (("physics", "implausible"), LESS),
    "planning gap": (("planning", "gap"), LESS),
    "success lost by planning": (("planning", "success_gap"), LESS),
    "valid time (steps)": (("open_loop", "valid_time"), MORE),
    "AUROC of doubts": (("uncertainty", "auroc"), MORE),
}
"""Name -> where it stands in ``report.json``, and which way is better; a number is what it should be near."""


@dataclass(frozen=True)
class Compared:
    """A figure of the baseline, and the same of the candidate."""

    name: str
    baseline: Mapping[str, Any]
    candidate: Mapping[str, Any] | None
    """None: it does not exist there."""
    worse: bool
    """The candidate's whole interval lies on the worse side of the baseline's, or it has none."""


def compare_reports(baseline: Mapping[str, Any], candidate: Mapping[str, Any]) -> list[Compared]:
    """Every figure that the baseline holds.

    Raises:
        DataError: they judge different tasks.
    """
    if baseline["task"]["name"] != candidate["task"]["name"]:
        raise DataError(
            f"the baseline judges {baseline['task']['name']} and the candidate {candidate['task']['name']}: "
            "two reports of one task are compared"
        )
    reports, found = (baseline, candidate), []
    for name, (place, better) in FIGURES.items():
        before, after = (_figure(_at(report, place), better) for report in reports)
        found += _compare(name, before, after, better == MORE)
    errors = [{row["horizon"]: row["model"] for row in report["open_loop"].get("table", [])} for report in reports]
    for horizon, before in errors[0].items():
        after = errors[1].get(horizon)
        found += _compare(f"open-loop nRMSE at {horizon}", _figure(before, LESS), _figure(after, LESS), False)
    return found


def differing_conditions(baseline: Mapping[str, Any], candidate: Mapping[str, Any]) -> list[str]:
    """What else differs between two reports, so that their figures may differ by that: a sentence each."""
    old, new = baseline["settings"], candidate["settings"]
    found = [
        f"{name} was {old.get(name)} and is {new.get(name)}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
    panels = [(report["identity"].get("panel") or {}).get("sha256") for report in (baseline, candidate)]
    return [*found, "the panels hold different policies"] if panels[0] != panels[1] else found


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


def _figure(found: Mapping[str, Any] | None, better: str | float) -> dict[str, float] | None:
    """Value and ends, of what should be near a number its distance from it; None where it does not exist."""
    if found is None or found["low"] is None:
        return None
    # A valid time is a whole number of steps, and says so.
    value, low, high = found["steps"] if "steps" in found else found["value"], found["low"], found["high"]
    if isinstance(better, str):
        return {"value": value, "low": low, "high": high}
    ends = sorted((abs(low - better), abs(high - better)))
    return {"value": abs(value - better), "low": 0.0 if low <= better <= high else ends[0], "high": ends[1]}


def _compare(
    name: str, before: dict[str, float] | None, after: dict[str, float] | None, more_is_better: bool
) -> list[Compared]:
    """One entry, or none where the baseline lacks the figure: what is new cannot have become worse."""
    if before is None:
        return []
    if after is None:
        return [Compared(name, before, None, True)]
    worse = after["high"] < before["low"] if more_is_better else after["low"] > before["high"]
    return [Compared(name, before, after, bool(worse))]
