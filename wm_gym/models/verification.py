"""Everything that can be checked of a model folder, one check after the other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from wm_gym.checks import Check, attempt, check_files, check_provenance, not_looked_at
from wm_gym.errors import ModelError
from wm_gym.files import read_json
from wm_gym.models import faults
from wm_gym.models.trained import (
    MANIFEST,
    WEIGHTS,
    TrainedModel,
    empty_world,
    listed_files,
    load_model,
    manifest_faults,
    read_weights,
)

_WANTED = ("licence", "commands", "seed", "dataset.sha256", "versions.wm_gym")
_STEPS, _ROWS = 10, 64


def check_model(folder: Path) -> Iterator[Check]:
    """Hashes, provenance, tensors against the architecture and the task, and a few imagined steps."""
    manifest, check = attempt(
        "manifest", partial(read_json, folder / MANIFEST, ModelError), lambda m: f"{len(m)} entries"
    )
    if manifest is None:
        yield check
    else:
        yield Check("manifest", check.found, tuple(manifest_faults(folder, manifest)))
        yield check_files(folder, listed_files(manifest), (MANIFEST, "result.json"), faults.REMEDY)
        yield check_provenance(folder / MANIFEST, manifest, _WANTED, "train the model again from data that says it")
    world, check = attempt("configuration", partial(empty_world, folder), lambda w: f"{w.family} of {w.task.name}")
    yield check
    tensors, check = attempt(
        "weights",
        partial(read_weights, folder / WEIGHTS),
        lambda t: f"{sum(value.numel() for value in t.values())} numbers in {len(t)} tensors, all finite",
    )
    if world is None or tensors is None:
        yield check if tensors is None else not_looked_at("weights", "configuration")
        return
    found = tuple(faults.tensor_faults(folder / WEIGHTS, world, tensors))
    yield Check("weights", check.found, found)
    trained, check = attempt("imagination", partial(load_model, folder), lambda t: f"{_STEPS} steps: finite, bounded")
    yield not_looked_at("imagination", "model") if trained is None else _check_imagination(folder, trained, check)


@torch.no_grad()
def _check_imagination(folder: Path, trained: TrainedModel, check: Check) -> Check:
    """Imagine a few steps from recorded starts under actions of both signs."""
    model, starts = trained.model, trained.starts.initial[:_ROWS]
    latent = model.observe(None, None, starts[:, 0])
    for step in range(1, starts.shape[1]):
        latent = model.observe(latent, trained.starts.initial_actions[:_ROWS, step - 1], starts[:, step])
    space = trained.task.action_space
    bounds = [torch.tensor(bound).nan_to_num(posinf=1.0, neginf=-1.0) for bound in (space.low, space.high)]
    for step in range(_STEPS):
        latent = model.imagine(latent, bounds[step % 2].expand(len(starts), -1))
        shown = model.predict(latent)
        values = {name: getattr(shown, name) for name in ("state", "reward", "continuation", "spread")}
        for name, value in {**values, **shown.frames}.items():
            if value is not None and not bool(torch.isfinite(value).all()):
                fault = f"{folder}: {name} is not finite after {step + 1} imagined steps; {faults.REMEDY}"
                return Check(check.subject, check.found, (fault,))
    return check
