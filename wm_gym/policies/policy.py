"""A trained policy as plain data: the layers of its actor in safetensors, and how to chain them in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from wm_gym.errors import ConfigError, ModelError, ObservationError
from wm_gym.files import file_hash, read_json, write_json
from wm_gym.models.checkpoint import read_tensors, write_tensors

Array = np.ndarray[Any, np.dtype[Any]]
SCHEMA_VERSION = 1
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
        """Write ``policy.safetensors`` and ``policy.json``."""
        write_tensors(folder / "policy.safetensors", self.tensors)
        described = {"activation": self.activation, "squash": self.squash, "details": dict(self.details)}
        digest = file_hash(folder / "policy.safetensors")
        write_json(folder / "policy.json", {"schema_version": SCHEMA_VERSION, **described, "sha256": digest})


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
    if not (path / "policy.json").is_file() and (path / "policy" / "policy.json").is_file():
        path = path / "policy"
    described = read_json(path / "policy.json", ModelError)
    file = path / "policy.safetensors"
    if described.get("schema_version") != SCHEMA_VERSION:
        raise ModelError(f"{path}: schema {described.get('schema_version')!r}, this version reads {SCHEMA_VERSION}")
    if not file.is_file() or file_hash(file) != described.get("sha256"):
        raise ModelError(f"{file}: missing or changed since it was written; copy the policy again")
    if described.get("activation") not in _ACTIVATIONS or not isinstance(described.get("squash"), bool):
        raise ModelError(f"{path / 'policy.json'}: activation or squash is missing or unknown")
    tensors = read_tensors(file)
    if missing := {"mean", "scale", "low", "high", "weight.0", "bias.0"} - tensors.keys():
        raise ModelError(f"{file}: {sorted(missing)[0]!r} is missing; export the policy again")
    return Policy(tensors, described["activation"], described["squash"], described.get("details", {}))


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
