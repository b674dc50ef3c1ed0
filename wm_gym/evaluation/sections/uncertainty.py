"""Uncertainty: does the world know when it is wrong?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wm_gym.evaluation.bench import Bench
from wm_gym.evaluation.records import Record, of, ragged
from wm_gym.evaluation.sections.section import Measured, Plain, Section, untested
from wm_gym.evaluation.statistics import (
    correlation_interval,
    mean_interval,
    percentile_interval,
    resample_counts,
    spearman,
)
from wm_gym.evaluation.termination import discrimination
from wm_gym.types import FloatArray

LEVELS = (0.5, 0.8, 0.9, 0.95)
WRONG = 0.3
"""nRMSE above which a prediction is called wrong."""
HORIZONS = (1, 10, 50, 100)


def measure(bench: Bench) -> Measured:
    """Nothing of its own: the open loop's records hold what the world said of itself."""
    return Measured()


def judge(records: Sequence[Record], known: Mapping[str, Any], generator: np.random.Generator) -> Plain:
    """Whether larger doubts go with larger errors, and whether intervals made from them cover, at a few horizons."""
    rows = of(known["records"]["open_loop"], predictor="model")
    if not rows or rows[0]["uncertainty"] is None:
        return untested("this world says nothing of its own uncertainty")
    horizon = known["open_loop"]["horizon"]
    errors = np.sqrt(ragged(rows, "squares", horizon))
    doubts = ragged(rows, "uncertainty", horizon)
    wrong = errors > WRONG
    table = [_row(h, errors[:, h - 1], doubts[:, h - 1], generator) for h in HORIZONS if h <= horizon]
    auroc = None
    if wrong.any() and (errors <= WRONG).any():
        # A prediction grows more doubtful with every step: compared across all steps of all episodes.
        value = float(discrimination(doubts, wrong, np.ones((1, len(rows))))[0])
        drawn = discrimination(doubts, wrong, resample_counts(len(rows), generator))
        auroc = percentile_interval(value, drawn).to_dict()
    return {"tested": True, "wrong_above": WRONG, "auroc": auroc, "levels": list(LEVELS), "table": table}


def _row(horizon: int, errors: FloatArray, doubts: FloatArray, generator: np.random.Generator) -> Plain:
    known = np.isfinite(errors) & np.isfinite(doubts) & (doubts > 0)
    error, doubt = errors[known], doubts[known]
    if len(error) < 4:
        return {"horizon": horizon, "episodes": len(error), "ratio": None, "correlation": None, "coverage": None}
    return {
        "horizon": horizon,
        "episodes": len(error),
        "ratio": mean_interval(error / doubt, generator).to_dict(),
        "correlation": correlation_interval(error, doubt, generator, spearman).to_dict(),
        "coverage": conformal_coverage(error / doubt),
    }


def conformal_coverage(ratios: FloatArray) -> dict[str, float]:
    """Coverage of split-conformal bounds (Vovk et al. 2005): every other ratio sets the bound, the rest are tested.

    Args:
        ratios: (N,) error over doubt, N at least 4.
    """
    setting, tested = np.sort(ratios[::2]), ratios[1::2]
    found = {}
    for level in LEVELS:
        place = int(np.ceil((len(setting) + 1) * level)) - 1
        bound = setting[place] if place < len(setting) else np.inf
        found[f"{level:g}"] = float(np.mean(tested <= bound))
    return found


SECTION = Section("uncertainty", measure, judge)
