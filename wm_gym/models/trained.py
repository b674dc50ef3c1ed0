"""A trained model as a folder: ``model.safetensors``, ``config.json`` and ``MANIFEST.json``. No file can run code."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wm_gym.errors import ModelError
from wm_gym.files import file_hash, read_json, write_json
from wm_gym.models.checkpoint import read_tensors, write_tensors
from wm_gym.models.device import usable_device
from wm_gym.models.state_ensemble import StateEnsemble, StateEnsembleConfig
from wm_gym.models.trust import Calibration, Support
from wm_gym.models.world_model import WorldModel
from wm_gym.types import TaskSpec

SCHEMA_VERSION = 1
FAMILIES: Mapping[str, tuple[type[Any], type[Any]]] = {
    StateEnsemble.family: (StateEnsemble, StateEnsembleConfig),
}
"""Name in ``config.json`` -> (model class, its config class)."""


@dataclass(frozen=True)
class StartStates:
    """Recorded moments at which imagination can begin: the context to observe, and nothing that follows it."""

    initial: Tensor
    """(N, C+1, S) the first observations of recorded episodes (C steps of context, 0 for most state models)."""
    initial_actions: Tensor
    """(N, C, A)."""
    any: Tensor
    """(K, C+1, S) any recorded moment."""
    any_actions: Tensor
    """(K, C, A)."""


@dataclass(frozen=True)
class TrainedModel:
    """A world model with what it needs to be used: start states, support, calibration and provenance."""

    model: WorldModel
    starts: StartStates
    support: Support
    calibration: Calibration
    manifest: Mapping[str, Any]
    """What ``MANIFEST.json`` holds: versions, seed, commands, hashes of the data, licence, figures of the fit."""
    folder: Path | None = None

    @property
    def task(self) -> TaskSpec:
        """What was recorded and learnt."""
        return self.model.task

    def to(self, device: str | torch.device) -> TrainedModel:
        """The same model on another device; this one stays where it is."""
        device = torch.device(device)
        world = self.model
        if any(tensor.device != device for tensor in world.state_dict().values()):
            world = copy.deepcopy(world).to(device)
        moved = {
            name: replace(part, **{f.name: getattr(part, f.name).to(device) for f in fields(part)})
            for name, part in (("starts", self.starts), ("support", self.support), ("calibration", self.calibration))
        }
        return replace(self, model=world, **moved)  # type: ignore[arg-type]

    def save(self, folder: Path) -> None:
        """Write the folder: complete under a temporary name, then renamed over an older one."""
        temporary = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for name in ("starts", "support", "calibration"):
            part = getattr(self, name)
            tensors |= {f"{name}.{f.name}": getattr(part, f.name) for f in fields(part)}
        write_tensors(temporary / "model.safetensors", tensors)
        config = {"family": self.model.family, "model": self.model.config(), "task": self.task.to_dict()}
        write_json(temporary / "config.json", config)
        files = {name: file_hash(temporary / name) for name in ("model.safetensors", "config.json")}
        write_json(temporary / "MANIFEST.json", {"schema_version": SCHEMA_VERSION, **self.manifest, "files": files})
        replaced = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(replaced, ignore_errors=True)
        if folder.exists():
            folder.rename(replaced)
        temporary.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)


def list_models() -> tuple[str, ...]:
    """Names of the shipped models."""
    zoo = _zoo()
    return tuple(sorted(p.name for p in zoo.iterdir() if (p / "config.json").exists())) if zoo.is_dir() else ()


def load_model(model: str | Path, device: str | torch.device = "cpu") -> TrainedModel:
    """Load a shipped model by its name, or any model by its folder.

    Args:
        model: one of :func:`list_models`, or the path of a model folder.
        device: where its tensors go.

    Raises:
        ModelError: there is no such model; a file is missing, damaged or was changed since it was written.
    """
    folder = _find(model)
    manifest = read_json(folder / "MANIFEST.json", ModelError)
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise ModelError(
            f"{folder}: written in schema {manifest.get('schema_version')!r}, this version reads {SCHEMA_VERSION}; "
            "train the model again or install the version that wrote it"
        )
    for name in ("config.json", "model.safetensors"):
        _check_hash(folder / name, manifest)
    config, tensors = read_json(folder / "config.json", ModelError), read_tensors(folder / "model.safetensors")
    try:
        family, shape = FAMILIES[config["family"]]
        world = family(TaskSpec.from_dict(config["task"]), shape(**config["model"])).float()
        world.load_state_dict(_part(tensors, "model"))
        trained = TrainedModel(
            model=world.eval().requires_grad_(False),
            starts=StartStates(**_part(tensors, "starts")),
            support=Support(**_part(tensors, "support")),
            calibration=Calibration(**_part(tensors, "calibration")),
            manifest=manifest,
            folder=folder,
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{folder}: config.json and model.safetensors do not describe one model ({reason})") from error
    return trained.to(usable_device(device))


def _zoo() -> Path:
    return Path(str(resources.files("wm_gym"))) / "zoo"


def _find(model: str | Path) -> Path:
    shipped = list_models()
    if str(model) in shipped:
        return _zoo() / str(model)
    folder = Path(model)
    if not (folder / "MANIFEST.json").is_file():
        raise ModelError(
            f"no model {str(model)!r}: neither a shipped one ({', '.join(shipped) or 'none'}) nor a folder with "
            "MANIFEST.json, config.json and model.safetensors"
        )
    return folder


def _check_hash(path: Path, manifest: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise ModelError(f"{path}: missing; copy the whole model folder again")
    expected = dict(manifest.get("files", {})).get(path.name)
    if file_hash(path) != expected:
        raise ModelError(f"{path}: changed since it was written (its sha256 is not the manifest's); copy it again")


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): v for name, v in tensors.items() if name.startswith(f"{prefix}.")}
