"""A trained model as a folder: ``model.safetensors``, ``config.json`` and ``MANIFEST.json``. No file can run code."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wm_gym.checks import raise_first
from wm_gym.errors import ModelError
from wm_gym.files import changed_files, file_hash, missing_files, read_json, replacing_folder, write_json
from wm_gym.models import faults
from wm_gym.models.camera_world import CameraWorld, CameraWorldConfig
from wm_gym.models.checkpoint import read_tensors, write_tensors
from wm_gym.models.device import usable_device
from wm_gym.models.state_ensemble import StateEnsemble, StateEnsembleConfig
from wm_gym.models.trust import Calibration, Support
from wm_gym.models.world_model import WorldModel
from wm_gym.types import TaskSpec

SCHEMA_VERSION = 1
WEIGHTS, CONFIG, MANIFEST = "model.safetensors", "config.json", "MANIFEST.json"
FAMILIES: Mapping[str, tuple[type[Any], type[Any]]] = {
    StateEnsemble.family: (StateEnsemble, StateEnsembleConfig),
    CameraWorld.family: (CameraWorld, CameraWorldConfig),
}
"""Name in ``config.json`` -> (model class, its config class)."""


@dataclass(frozen=True)
class StartStates:
    """Recorded moments at which imagination can begin: the context to observe, and nothing that follows it."""

    initial: Tensor
    """(N, C+1, F) embeddings of the first observations of recorded episodes (C steps of context, 0 as a rule)."""
    initial_actions: Tensor
    """(N, C, A)."""
    any: Tensor
    """(K, C+1, F) any recorded moment, with its model's context before it."""
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

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """What the data did not hold, and the model can only say zero of: ``reward``, ``termination``."""
        learnt = self.manifest.get("dataset")
        named = learnt.get("unrecorded") if isinstance(learnt, Mapping) else None
        return tuple(map(str, named)) if isinstance(named, list) else ()

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
        """Write the folder: it appears complete, in the place of an older one, or not at all."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for name in ("starts", "support", "calibration"):
            part = getattr(self, name)
            tensors |= {f"{name}.{f.name}": getattr(part, f.name) for f in fields(part)}
        weights = {f"model.{name}" for name, _ in self.model.named_parameters()} | {"starts.any"}
        tensors = {name: _compact(value) if name in weights else value for name, value in tensors.items()}
        config = {"family": self.model.family, "model": self.model.config(), "task": self.task.to_dict()}
        with replacing_folder(folder) as partial:
            write_tensors(partial / WEIGHTS, tensors)
            write_json(partial / CONFIG, config)
            files = {name: file_hash(partial / name) for name in (WEIGHTS, CONFIG)}
            write_json(partial / MANIFEST, {"schema_version": SCHEMA_VERSION, **self.manifest, "files": files})


def list_models() -> tuple[str, ...]:
    """Names of the shipped models."""
    zoo = _zoo()
    return tuple(sorted(p.name for p in zoo.iterdir() if (p / CONFIG).exists())) if zoo.is_dir() else ()


def load_model(model: str | Path, device: str | torch.device = "cpu") -> TrainedModel:
    """Load a shipped model by its name, or any model by its folder.

    Args:
        model: one of :func:`list_models`, or the path of a model folder.
        device: where its tensors go.

    Raises:
        ModelError: there is no such model; a file is missing, damaged or was changed since it was written.
    """
    folder = _find(model)
    manifest = read_json(folder / MANIFEST, ModelError)
    raise_first(ModelError, manifest_faults(folder, manifest))
    raise_first(ModelError, missing_files(folder, listed_files(manifest), faults.REMEDY))
    raise_first(ModelError, changed_files(folder, listed_files(manifest), faults.REMEDY))
    tensors = read_weights(folder / WEIGHTS)
    world = empty_world(folder)
    raise_first(ModelError, faults.tensor_faults(folder / WEIGHTS, world, tensors))
    world.load_state_dict(_part(tensors, "model"), assign=True)
    trained = TrainedModel(
        model=world.eval().requires_grad_(False),
        starts=StartStates(**_part(tensors, "starts")),
        support=Support(**_part(tensors, "support")),
        calibration=Calibration(**_part(tensors, "calibration")),
        manifest=manifest,
        folder=folder,
    )
    return trained.to(usable_device(device))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a model's file; what is stored at another precision becomes float32."""
    return {n: value.float() if value.is_floating_point() else value for n, value in read_tensors(path).items()}


def manifest_faults(folder: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a model's manifest itself."""
    if manifest.get("schema_version") != SCHEMA_VERSION:
        yield (
            f"{folder}: written in schema {manifest.get('schema_version')!r}, this version reads {SCHEMA_VERSION}; "
            "train the model again or install the version that wrote it"
        )
    yield from faults.manifest_faults(folder / MANIFEST, manifest)


def listed_files(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Name -> sha256 of the files that make a model, None where the manifest does not list one."""
    listed = manifest.get("files")
    return {name: listed.get(name) if isinstance(listed, dict) else None for name in (WEIGHTS, CONFIG)}


def empty_world(folder: Path) -> WorldModel:
    """The architecture that ``config.json`` describes, without memory for its weights.

    What a file asks for can so be compared with what it brings before it costs anything.

    Raises:
        ModelError: the configuration is damaged, or describes no model.
    """
    config = read_json(folder / CONFIG, ModelError)
    raise_first(ModelError, faults.config_faults(folder / CONFIG, config.get("model")))
    try:
        family, shape = FAMILIES[config["family"]]
        with torch.device("meta"):
            world: WorldModel = family(
                TaskSpec.from_dict(config["task"]), shape(**{**family.legacy_settings, **config["model"]})
            )
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError, AttributeError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{folder / CONFIG}: does not describe a model ({reason}); {faults.REMEDY}") from error
    return world


def _compact(value: Tensor) -> Tensor:
    """The same numbers in float16 where it holds every one of them exactly, as those of a model rounded to it."""
    small = value.half() if value.dtype == torch.float32 else value
    return small if torch.equal(small.float(), value.float()) else value


def _zoo() -> Path:
    return Path(str(resources.files("wm_gym"))) / "zoo"


def _find(model: str | Path) -> Path:
    shipped = list_models()
    if str(model) in shipped:
        return _zoo() / str(model)
    folder = Path(model)
    if not (folder / MANIFEST).is_file():
        raise ModelError(
            f"no model {str(model)!r}: neither a shipped one ({', '.join(shipped) or 'none'}) nor a folder with "
            "MANIFEST.json, config.json and model.safetensors"
        )
    return folder


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): v for name, v in tensors.items() if name.startswith(f"{prefix}.")}
