"""A panel: many policies of one task, from useless to good, by which the ranking in a world model is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wm_gym.errors import ModelError
from wm_gym.files import file_hash, read_json, write_json
from wm_gym.policies.policy import Policy, load_policy
from wm_gym.policies.scripted import ScriptedPolicy, load_script
from wm_gym.types import FloatArray, TaskSpec

SCHEMA_VERSION = 1
CHECKPOINT_RULE = (
    "every trained policy is a run of its own with a seed of its own, and its weights are the last of that run: "
    "no run gives two policies, and none was chosen by its return"
)
KINDS = ("trained", "scripted", "random", "adversarial")

IntArray = np.ndarray[Any, np.dtype[np.integer]]


@dataclass(frozen=True)
class PanelPolicy:
    """A policy with a name; it can be played wherever an actor can."""

    name: str
    kind: str
    """``trained``; ``scripted``, ``random``: by the clock alone; ``adversarial``: a good policy's actions mirrored."""
    policy: Policy | ScriptedPolicy
    details: Mapping[str, Any]
    """Plain values: algorithm, steps, seed; return and returns in the physics once it was tried there."""

    def act(self, observation: FloatArray, episodes: IntArray, step: int) -> FloatArray:
        """Act on raw observations (B, S) of the episodes numbered ``episodes`` (B,), all at ``step``: (B, A)."""
        if isinstance(self.policy, ScriptedPolicy):
            return self.policy.act(observation, episodes, step)
        return self.policy.predict(observation)[0]


def mirrored(name: str, best: PanelPolicy) -> PanelPolicy:
    """The policy that does the opposite: each action reflected about the middle of its bounds."""
    assert isinstance(best.policy, Policy)
    tensors = dict(best.policy.tensors)
    last = sum(part.startswith("weight.") for part in tensors) - 1
    # A squashed action is an offset from the middle; an unsquashed one is in the action's own units.
    middle = 0.0 if best.policy.squash else tensors["low"] + tensors["high"]
    tensors |= {f"weight.{last}": -tensors[f"weight.{last}"], f"bias.{last}": middle - tensors[f"bias.{last}"]}
    details = {**best.policy.details, "mirrors": best.name}
    policy = Policy(tensors, best.policy.activation, best.policy.squash, details)
    return PanelPolicy(name, "adversarial", policy, {"mirrors": best.name})


def write_panel(folder: Path, task: TaskSpec, policies: Sequence[PanelPolicy]) -> None:
    """Write each policy into a folder of its name, and ``panel.json`` last."""
    entries = []
    for member in policies:
        member.policy.save(folder / member.name)
        digest = file_hash(_file(folder, member.name, member.kind))
        entries.append({"name": member.name, "kind": member.kind, **member.details, "sha256": digest})
    described = {"schema_version": SCHEMA_VERSION, "task": task.name, "env_id": task.env_id}
    limits = {"max_episode_steps": task.max_episode_steps, "checkpoint_rule": CHECKPOINT_RULE}
    write_json(folder / "panel.json", {**described, **limits, "policies": entries})


def load_panel(folder: str | Path) -> list[PanelPolicy]:
    """Read the policies of a panel, in the order of ``panel.json``.

    Raises:
        ModelError: a file is missing, damaged or changed since it was written.
    """
    path = Path(folder) / "panel.json"
    described = read_json(path, ModelError)
    if described.get("schema_version") != SCHEMA_VERSION:
        raise ModelError(f"{path}: schema {described.get('schema_version')!r}, this version reads {SCHEMA_VERSION}")
    try:
        return [_load(Path(folder), dict(entry)) for entry in described["policies"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: damaged: {type(error).__name__} {error}; make the panel again") from error


def _load(folder: Path, entry: dict[str, Any]) -> PanelPolicy:
    name, kind, digest = str(entry.pop("name")), entry.pop("kind"), entry["sha256"]
    if not name.isidentifier() or kind not in KINDS:  # a name is a folder's, and must not lead out of the panel
        raise ModelError(f"{folder / 'panel.json'}: policy {name!r} of kind {kind!r}: no name or kind of a panel")
    file = _file(folder, name, kind)
    if not file.is_file() or file_hash(file) != digest:
        raise ModelError(f"{file}: missing or changed since it was written; copy the panel again")
    policy = load_script(file) if kind in ("scripted", "random") else load_policy(file.parent)
    assert isinstance(policy, Policy | ScriptedPolicy)
    return PanelPolicy(name, kind, policy, entry)


def _file(folder: Path, name: str, kind: str) -> Path:
    """What a policy's hash is taken of."""
    return folder / name / ("script.json" if kind in ("scripted", "random") else "policy.safetensors")
