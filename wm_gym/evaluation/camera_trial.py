"""The trial of a camera agent in both worlds: its figures, and what is printed of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from wm_gym.evaluation.statistics import mean_interval

WHERE = {
    "physical": "MuJoCo, from the camera",
    "imagined": "imagination",
    "refiltered": "imagination, drawn and filtered again",
}


def trial_figures(returns: Mapping[str, np.ndarray], generator: np.random.Generator) -> dict[str, Any]:
    """Means with their intervals, and the share of the imagined return that filtering instead of imagining costs.

    Args:
        returns: (episodes,) by world, the keys of ``WHERE``; imagined and filtered ones begin at the same starts.
        generator: of the bootstrap.
    """
    trial: dict[str, Any] = {name: asdict(mean_interval(values, generator)) for name, values in returns.items()}
    trial |= {f"{name}_returns": [round(float(value), 4) for value in values] for name, values in returns.items()}
    if "refiltered" in returns:
        lost = mean_interval(returns["imagined"] - returns["refiltered"], generator)
        scale = max(abs(trial["imagined"]["value"]), 1e-9)
        trial["filtering_costs"] = {name: value / scale for name, value in asdict(lost).items()}
    return trial


def show_trial(trial: Mapping[str, Any]) -> None:
    """Print the mean return in each world, and what filtering costs."""
    print(f"\n{'return per episode':<44}{'mean':>10}   95 % interval")
    for name, where in WHERE.items():
        if name in trial:
            found = trial[name]
            print(f"{where:<44}{found['value']:>10.2f}   [{found['low']:.2f}, {found['high']:.2f}]")
    if "filtering_costs" in trial:
        found = trial["filtering_costs"]
        print(f"filtering costs {found['value']:.1%} [{found['low']:.1%}, {found['high']:.1%}] of the imagined return")
