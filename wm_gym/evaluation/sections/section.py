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
    """The ratio of two sums over the same N independent rows, both resampled together."""
    weights = resample_counts(len(numerator), generator, resamples)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.divide(np.sum(numerator), np.sum(denominator))
        return percentile_interval(float(value), (weights @ numerator) / (weights @ denominator))
