"""A trained policy as plain data: the layers of its actor in safetensors, and how to chain them in JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from wm_gym.checks import raise_first
from wm_gym.errors import ConfigError, ModelError, ObservationError
from wm_gym.files import file_hash, read_json, replacing_folder, write_json
from wm_gym.models.checkpoint import read_tensors, tensors_not_finite, write_tensors

Array = np.ndarray[Any, np.dtype[Any]]
SCHEMA_VERSION = 1
TENSORS, DESCRIPTION = "policy.safetensors", "policy.json"
_REMEDY = "export the policy again, or copy its folder again"
_ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}


class PredictingPolicy(Protocol):
    """Anything that acts on observations alone: SB3's algorithms and exported policies."""

    def predict(self, observation: Array, *, deterministic: bool = True) -> tuple[Array, Any]:
        """Actions (B, A) for observations (B, S), or (A,) for (S,), and the actor's own state."""


@dataclass(frozen=True)
class Policy:
    """An exported actor: scaled observation -> hidden layers -> action within its bounds."""

    tensors: Mapping[str, Tensor]
    """``weight.I`` (out, in), ``bias.I`` (out,) of each layer; ``mean``, ``scale`` (S,); ``low``, ``high`` (A,)."""
    activation: str
    """``tanh`` or ``relu``, between the layers."""
    squash: bool
    """True: tanh onto the bounds (SAC); False: clipped to them (PPO)."""
    details: Mapping[str, Any]
    """Where it comes from: algorithm, world, seed, steps, model hash."""

    @torch.no_grad()
    def predict(
        self, observation: Array, state: None = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Array, None]:
        """Act as stable-baselines3's ``predict`` does; ``state`` and ``episode_start`` are there for its callers.

        Args:
            observation: (S,) or (B, S) raw.
            state: not used, the policy remembers nothing.
            episode_start: likewise.
            deterministic: must be True: the mean action is what was exported.

        Raises:
            ObservationError: the observation has another size.
        """
        if not deterministic:
            raise ConfigError("an exported policy holds the mean action alone: call predict with deterministic=True")
        values = torch.from_numpy(np.asarray(observation, np.float32))
        if values.shape[-1:] != self.tensors["mean"].shape:
            size = len(self.tensors["mean"])
            raise ObservationError(f"the policy takes observations of {size} numbers, not {tuple(values.shape)}")
        x = (values - self.tensors["mean"]) / self.tensors["scale"]
        layers = sum(name.startswith("weight.") for name in self.tensors)
        for layer in range(layers):
            x = x @ self.tensors[f"weight.{layer}"].T + self.tensors[f"bias.{layer}"]
            if layer < layers - 1:
                x = _ACTIVATIONS[self.activation](x)
        low, high = self.tensors["low"], self.tensors["high"]
        action = low + (torch.tanh(x) + 1) / 2 * (high - low) if self.squash else torch.clamp(x, low, high)
        return action.numpy(), None

    def save(self, folder: Path) -> None:
        """Write ``policy.safetensors`` and ``policy.json``: the folder appears whole, in the place of an older one."""
        described = {"activation": self.activation, "squash": self.squash, "details": dict(self.details)}
        with replacing_folder(folder) as partial:
            write_tensors(partial / TENSORS, self.tensors)
            values = {"schema_version": SCHEMA_VERSION, **described, "sha256": file_hash(partial / TENSORS)}
            write_json(partial / DESCRIPTION, values)


def load_policy(folder: str | Path, trust: bool = False) -> PredictingPolicy:
    """Load an exported policy, or an SB3 zip where that is trusted.

    Args:
        folder: of a policy, of an agent's output (which holds ``policy/``), or the path of an SB3 ``.zip``.
        trust: an SB3 zip is pickle and can run any code: True says that it is your own.

    Raises:
        ModelError: there is no policy, it is damaged, or it is a zip that is not trusted.
    """
    path = Path(folder)
    if path.suffix == ".zip":
        return _load_zip(path, trust)
    if not (path / DESCRIPTION).is_file() and (path / "policy" / DESCRIPTION).is_file():
        path = path / "policy"
    described = read_json(path / DESCRIPTION, ModelError)
    raise_first(ModelError, description_faults(path, described))
    tensors = {name: value.float() for name, value in read_tensors(path / TENSORS).items()}
    raise_first(ModelError, layer_faults(path / TENSORS, tensors, described["squash"]))
    return Policy(tensors, described["activation"], described["squash"], described.get("details", {}))


def description_faults(folder: Path, described: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with ``policy.json``, and whether the tensors beside it are those that it was written with."""
    if described.get("schema_version") != SCHEMA_VERSION:
        yield f"{folder}: schema {described.get('schema_version')!r}, this version reads {SCHEMA_VERSION}; {_REMEDY}"
    file = folder / TENSORS
    if not file.is_file() or file_hash(file) != described.get("sha256"):
        yield f"{file}: missing or changed since it was written; {_REMEDY}"
    if described.get("activation") not in tuple(_ACTIVATIONS) or not isinstance(described.get("squash"), bool):
        yield f"{folder / DESCRIPTION}: activation or squash is missing or unknown; {_REMEDY}"
    if not isinstance(described.get("details", {}), dict):
        yield f"{folder / DESCRIPTION}: details are no mapping; {_REMEDY}"


def layer_faults(path: Path, tensors: Mapping[str, Tensor], squash: bool) -> Iterator[str]:
    """Whether the layers follow one another from the observation to the action, and every value is a number."""
    layers = sum(name.startswith("weight.") for name in tensors)
    needed = {"mean", "scale", "low", "high", "weight.0", "bias.0"}
    needed |= {f"{part}.{layer}" for layer in range(layers) for part in ("weight", "bias")}
    if different := needed ^ tensors.keys():
        name = sorted(different)[0]
        yield f"{path}: {name!r} is {'missing' if name in needed else 'of no use'}; {_REMEDY}"
        return
    size = tensors["mean"].shape
    for layer in range(layers):
        weight, bias = tensors[f"weight.{layer}"], tensors[f"bias.{layer}"]
        if weight.dim() != 2 or weight.shape[1:] != size or bias.shape != weight.shape[:1]:
            yield f"{path}: 'weight.{layer}' of shape {tuple(weight.shape)} does not follow {tuple(size)}; {_REMEDY}"
            return
        size = bias.shape
    if tensors["scale"].shape != tensors["mean"].shape or any(tensors[n].shape != size for n in ("low", "high")):
        yield f"{path}: the sizes of mean and scale, or of the action and its bounds, differ; {_REMEDY}"
    elif not bool((tensors["low"] <= tensors["high"]).all()) or not bool((tensors["scale"] > 0).all()):
        yield f"{path}: a lower bound lies above its upper one, or a scale is not positive; {_REMEDY}"
    numbers = {name: value for name, value in tensors.items() if squash or name not in ("low", "high")}
    yield from tensors_not_finite(path, numbers)


def _load_zip(path: Path, trust: bool) -> PredictingPolicy:
    if not trust:
        raise ModelError(f"{path}: an SB3 zip can run any code when it is read; pass trust=true if it is your own")
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3

    failures = []
    for algorithm in (PPO, SAC, TD3, A2C, DDPG):
        try:
            actor: PredictingPolicy = algorithm.load(path, device="cpu")
        except Exception as error:  # each class refuses the others' zips in its own way
            failures.append(f"{algorithm.__name__}: {type(error).__name__}")
        else:
            return actor
    raise ModelError(f"{path}: no algorithm of stable-baselines3 reads it ({', '.join(failures)})")
