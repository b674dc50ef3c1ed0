"""How long something lasts when some of it was not watched to the end: an episode, or the validity of a prediction.

A window whose recording stops before the event is *censored*: it counts among those at risk as long as it was watched,
and says nothing afterwards. That is fair where the stop has nothing to do with the event, as with a time limit. It is
not quite where the truth ends in a fall, before which predictions are at their worst: valid times of robots that fall
are then a little too long, for every predictor alike.

All functions take weights (R, N), one row for each bootstrap sample, and give R results at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wm_gym.evaluation.resampling import weighted_mean
from wm_gym.types import BoolArray, FloatArray

IntArray = np.ndarray[Any, np.dtype[np.integer]]


def kaplan_meier(durations: IntArray, ended: BoolArray, horizon: int, weights: FloatArray) -> FloatArray:
    """Probability of lasting beyond each step 0 ... H: (R, H+1), from 1 downwards.

    The product-limit estimator of Kaplan & Meier 1958, "Nonparametric estimation from incomplete observations". Beyond
    the last step at which anything is at risk the curve stays where it is.

    Args:
        durations: (N,) step of the event, counted from 1; or the last step watched without one.
        ended: (N,) whether the event was seen.
        horizon: H.
        weights: (R, N).
    """
    steps = np.arange(1, horizon + 1)
    at_risk = durations[:, None] >= steps
    happened = (durations[:, None] == steps) & ended[:, None]
    return _product(1.0 - weighted_mean(weights, happened.astype(np.float64), at_risk))


def expected_survival(continuation: FloatArray, at_risk: BoolArray, weights: FloatArray) -> FloatArray:
    """What predicted probabilities of going on amount to, over those at risk at each step: (R, H+1).

    The product over the steps of the mean probability of those that were watched so far (Ederer & Heise 1959, "method
    II"), which meets the Kaplan-Meier curve where the probabilities are right, whatever the censoring.

    Args:
        continuation: (N, H) probability of surviving each step, given that the one before was.
        at_risk: (N, H) whether the step was watched.
        weights: (R, N).
    """
    return _product(weighted_mean(weights, continuation, at_risk))


def median_time(curve: FloatArray) -> IntArray:
    """(R,) first step at which half are left or fewer; H + 1 where more than half last beyond the horizon."""
    below = curve <= 0.5
    return np.asarray(np.where(below.any(axis=-1), below.argmax(axis=-1), curve.shape[-1]))


def restricted_mean(curve: FloatArray) -> FloatArray:
    """(R,) expected step of the event, or of the horizon if that is earlier: the area under the curve up to H.

    Unlike the median it exists however many are censored (Royston & Parmar 2013, "Restricted mean survival time").
    """
    return np.asarray(curve[..., :-1].sum(axis=-1))


def _product(survived: FloatArray) -> FloatArray:
    """(R, H) share that survives each step -> (R, H+1); a step with nobody at risk changes nothing."""
    factors = np.where(np.isfinite(survived), survived, 1.0)
    return np.cumprod(np.concatenate([np.ones((len(factors), 1)), factors], axis=1), axis=1)
