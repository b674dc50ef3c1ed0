"""What every section of a report is: something that measures records, and something that judges them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wm_gym.evaluation.bench import Bench
from wm_gym.evaluation.records import Record
from wm_gym.evaluation.statistics import RESAMPLES, Interval, percentile_interval, resample_counts
from wm_gym.evaluation.trajectories import Recorded
from wm_gym.types import FloatArray

Plain = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """What a section measured."""

    records: Sequence[Record] = ()
    """Without the name of the section."""
    trajectories: Sequence[Recorded] = ()
    """Episodes that are kept step by step."""


@dataclass(frozen=True)
class Section:
    """A part of the report.

    ``judge`` looks at its own records and at what was judged before it, and at nothing else.
    """

    name: str
    measure: Callable[[Bench], Measured]
    judge: Callable[[Sequence[Record], Mapping[str, Any], np.random.Generator], Plain]
    repeatable: bool = True
    """Whether the same seed gives the same records."""


def untested(reason: str) -> Plain:
    """A section that did not run."""
    return {"tested": False, "reason": reason}


def ratio_interval(
    numerator: FloatArray, denominator: FloatArray, generator: np.random.Generator, resamples: int = RESAMPLES
) -> Interval:
    """The ratio of two sums over the same N independent rows, both resampled together; NaN as in :func:`share_of`."""
    weights = resample_counts(len(numerator), generator, resamples)
    return share_of(float(np.sum(numerator)), float(np.sum(denominator)), weights @ numerator, weights @ denominator)


def share_of(part: float, whole: float, parts: FloatArray, wholes: FloatArray) -> Interval:
    """A part of a gain as a share of the whole; NaN where the whole is not clearly above zero.

    A share of nothing, or of a loss, can come out on the right side of any gate.

    Args:
        part: of the gain.
        whole: the gain itself.
        parts: (R,) the part in each bootstrap sample.
        wholes: (R,) the whole in the same samples.
    """
    if not min(whole, percentile_interval(whole, wholes).low) > 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    # Of the few samples whose whole is not above zero the share is as meaningless.
    return percentile_interval(part / whole, parts[wholes > 0] / wholes[wholes > 0])
