"""For what an imagination may be used: gates on figures, and one verdict for each use.

A gate passes or fails by the whole interval; an interval that holds the gate decides nothing. A use passes if all its
gates do, fails if one fails, and was not tested if one of them was not measured. There is no composite score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Plain = dict[str, Any]

PASS, FAIL, INCONCLUSIVE, NOT_TESTED = "PASS", "FAIL", "INCONCLUSIVE", "NOT TESTED"

USES: Mapping[str, tuple[str, ...]] = {
    "rank_policies": ("spearman", "pearson", "regret", "mmrv"),
    "train_policy": ("transfer", "exploitation"),
    "plan": ("planning_gap", "sensitivity", "sign_agreement"),
    "augment_data": ("skill", "implausible"),
}
"""Use -> the gates that it must pass, the most telling first."""


def gate(name: str, figure: Mapping[str, Any], at_least: float | None = None, at_most: float | None = None) -> Plain:
    """Hold a figure with its interval against its limits, both inclusive.

    Args:
        name: of the gate.
        figure: ``value``, ``low``, ``high``. A value of None, or any entry that is not finite, is a figure that does
            not exist: it fails, and is kept as None. Ends of None are a figure without an interval.
        at_least: the lower limit, if there is one.
        at_most: the upper limit, if there is one.
    """
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None or not all(math.isfinite(entry) for entry in (value, low, high) if entry is not None):
        verdict, value, low, high = FAIL, None, None, None
    else:
        low, high = value if low is None else low, value if high is None else high
        floor, ceiling = -float("inf") if at_least is None else at_least, float("inf") if at_most is None else at_most
        if floor <= low and high <= ceiling:
            verdict = PASS
        elif high < floor or low > ceiling:
            verdict = FAIL
        else:
            verdict = INCONCLUSIVE
    limits = {"at_least": at_least, "at_most": at_most}
    return {"name": name, "verdict": verdict, "value": value, "low": low, "high": high, **limits}


def judge_uses(gates: Sequence[Plain]) -> dict[str, Plain]:
    """The verdict on each use, and the figure that decided it.

    Args:
        gates: of :func:`gate`, in any order.

    Returns:
        Use -> ``verdict``, ``figure``, ``low``, ``high``, ``gate``, ``decided_by`` and ``sense`` (``at least`` or
        ``at most``). All but the verdict and ``decided_by`` are None where the use was not tested.
    """
    known = {entry["name"]: entry for entry in gates}
    return {use: _judge(names, known) for use, names in USES.items()}


def _judge(names: Sequence[str], known: Mapping[str, Plain]) -> Plain:
    found = [known[name] for name in names if name in known]
    missing = [name for name in names if name not in known]
    for verdict in (FAIL, NOT_TESTED, INCONCLUSIVE, PASS):
        if verdict == NOT_TESTED and missing:
            nothing = {"figure": None, "low": None, "high": None, "gate": None, "sense": None}
            return {"verdict": NOT_TESTED, **nothing, "decided_by": missing[0]}
        decisive = [entry for entry in found if entry["verdict"] == verdict]
        if decisive:
            return _decided(decisive[0])
    raise AssertionError("a use has gates")


def _decided(entry: Plain) -> Plain:
    """The deciding figure beside the limit that it is nearer to."""
    limits = {sense.replace("_", " "): entry[sense] for sense in ("at_least", "at_most") if entry[sense] is not None}
    value = entry["value"] if entry["value"] is not None else 0.0
    sense = min(limits, key=lambda name: abs(limits[name] - value))
    figure = {"figure": entry["value"], "low": entry["low"], "high": entry["high"], "gate": limits[sense]}
    return {"verdict": entry["verdict"], **figure, "decided_by": entry["name"], "sense": sense}
