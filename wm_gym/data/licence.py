"""What a recording's licence allows: learning from data whose owner has said nothing is a choice to be made aloud."""

from __future__ import annotations

from wm_gym.data.episodes import Dataset
from wm_gym.errors import DataError

UNSTATED = "not stated; used with allow_unlicensed=true"
"""Stands in a model's manifest in the place of a licence."""


def stated_licence(dataset: Dataset, allow_unlicensed: bool) -> str:
    """The licence of a recording, as a model's manifest records it.

    Raises:
        DataError: it states none, and that was not allowed.
    """
    licence = dataset.manifest.get("licence")
    if isinstance(licence, str) and licence.strip():
        return licence
    if not allow_unlicensed:
        raise DataError(
            f"{dataset.folder}: states no licence; record it with licence=..., or use it with allow_unlicensed=true, "
            "which the model's manifest will say"
        )
    return UNSTATED
