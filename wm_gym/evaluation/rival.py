"""What another library predicted for the same held-out windows, as a folder that carries its provenance.

Such a library lives in an environment of its own. What crosses over is numbers: ``predictions.safetensors`` and
``result.json``; they are then judged by the same code as our own models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wm_gym.data.episodes import Dataset
from wm_gym.errors import ModelError
from wm_gym.evaluation.held_out import CONTEXT, HeldOut
from wm_gym.evaluation.prediction import Predicted
from wm_gym.files import file_hash, read_json, write_json
from wm_gym.models.checkpoint import read_tensors, write_tensors

PREDICTIONS = "predictions.safetensors"


@dataclass(frozen=True)
class Rival:
    """One training seed of another library."""

    library: str
    """Its name, for the table."""
    seed: int
    predicted: Predicted
    details: Mapping[str, Any]
    """The folder's whole ``result.json``."""


def windows_identity(held_out: HeldOut, dataset: Dataset, training: Dataset, stride: int) -> dict[str, Any]:
    """Which windows of which recordings: what a rival's predictions must share with ours."""
    return {
        "training": training.digest(),
        "held_out": dataset.digest(),
        "stride": stride,
        "context": CONTEXT,
        "horizon": held_out.horizon,
        "windows": len(held_out.episodes),
    }


def write_rival(
    folder: Path, library: str, seed: int, predicted: Predicted, identity: Mapping[str, Any], details: Mapping[str, Any]
) -> None:
    """Write the folder; ``result.json`` comes last, so that a folder that has it is complete.

    Args:
        folder: made where it does not exist.
        library: name and version.
        seed: of its training.
        predicted: for the windows of ``identity``.
        identity: from :func:`windows_identity`.
        details: how it was trained, as plain values.
    """
    assert predicted.rewards is not None, "a rival is asked for rewards too"
    arrays = {"states": predicted.states, "rewards": predicted.rewards}
    # A file never holds NaN; infinity is read as the failure that it is.
    tensors = {name: torch.nan_to_num(torch.as_tensor(a).float(), nan=torch.inf) for name, a in arrays.items()}
    write_tensors(folder / PREDICTIONS, tensors)
    result = {"library": library, "seed": seed, "identity": dict(identity), **details}
    write_json(folder / "result.json", result | {"predictions_sha256": file_hash(folder / PREDICTIONS)})


def read_rival(folder: str | Path, identity: Mapping[str, Any]) -> Rival:
    """Read what :func:`write_rival` wrote for the same windows.

    Raises:
        ModelError: a file is missing or damaged, or the predictions are of other windows or another training recording.
    """
    path = Path(folder)
    details = read_json(path / "result.json", ModelError)
    try:
        library, seed, theirs = str(details["library"]), int(details["seed"]), dict(details["identity"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: result.json does not describe a rival's predictions ({error!r})") from error
    differing = sorted(name for name, value in identity.items() if theirs.get(name) != value)
    if differing:
        name = differing[0]
        raise ModelError(
            f"{path}: predicts other windows ({name} {theirs.get(name)!r} where {identity[name]!r} is judged); "
            "predict again with the same recordings, stride and horizon"
        )
    if not (path / PREDICTIONS).is_file() or file_hash(path / PREDICTIONS) != details.get("predictions_sha256"):
        raise ModelError(f"{path / PREDICTIONS}: missing, or changed since it was written; predict again")
    tensors = read_tensors(path / PREDICTIONS)
    shape = (identity["windows"], identity["horizon"])
    if any(name not in tensors or tensors[name].shape[:2] != shape for name in ("states", "rewards")):
        raise ModelError(f"{path / PREDICTIONS}: does not hold states and rewards of {shape[0]} windows; predict again")
    states, rewards = (np.asarray(tensors[name].double().numpy()) for name in ("states", "rewards"))
    return Rival(library, seed, Predicted(states, rewards), details)
