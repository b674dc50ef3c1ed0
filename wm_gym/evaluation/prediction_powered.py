"""The imagination as a helper of the physics: its many cheap episodes, corrected by a few physical ones.

Prediction-powered inference with a tuned weight (Angelopoulos, Duchi & Zrnic 2023, "PPI++"): the estimate is unbiased
however wrong the imagination is, and its interval is the narrower the better imagined and physical returns of one start
agree. "Physics episodes saved" is how many more physical episodes would give as narrow an interval without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from wm_gym.evaluation.statistics import LEVEL
from wm_gym.types import FloatArray


@dataclass(frozen=True)
class PoweredMean:
    """A mean physical return, estimated from both worlds."""

    value: float
    low: float
    high: float
    weight: float
    """In [0, 1]: how far the imagination is used; 0 is the plain mean of the physical returns."""
    saved: float
    """Physical episodes that the imagination stands for."""


def powered_mean(
    physical: FloatArray, imagined: FloatArray, more_imagined: FloatArray, level: float = LEVEL
) -> PoweredMean:
    """Estimate the mean physical return.

    Args:
        physical: (n,) returns, n at least 2.
        imagined: (n,) from the same starts.
        more_imagined: (N,) from other starts, N at least 2.
        level: probability that the normal interval covers the mean.
    """
    few, many = len(physical), len(more_imagined)
    covariance = np.cov(physical, imagined, ddof=1)
    weight = 0.0
    if covariance[1, 1] > 0:
        weight = float(np.clip(covariance[0, 1] / ((1.0 + few / many) * covariance[1, 1]), 0.0, 1.0))
    value = float(np.mean(physical) + weight * (np.mean(more_imagined) - np.mean(imagined)))
    rest = np.var(np.asarray(physical) - weight * np.asarray(imagined), ddof=1) / few
    variance = float(rest + weight**2 * np.var(more_imagined, ddof=1) / many)
    reach = float(norm.ppf(0.5 + level / 2)) * variance**0.5
    alone = float(covariance[0, 0]) / few
    saved = few * (alone / variance - 1.0) if variance > 0 else 0.0
    return PoweredMean(value, value - reach, value + reach, weight, max(0.0, saved))
