"""Everything that can be checked of a policy folder, and of the folder of an agent that holds one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from wm_gym.checks import Check, attempt, check_provenance, not_looked_at
from wm_gym.errors import ModelError
from wm_gym.files import read_json
from wm_gym.models.checkpoint import read_tensors
from wm_gym.policies.policy import DESCRIPTION, TENSORS, Policy, description_faults, layer_faults, load_policy

_REMEDY = "train the agent again"
_SHARED = ("algorithm", "world", "seed", "steps", "task")


def check_policy(folder: Path) -> Iterator[Check]:
    """The hash, the layers and the actions of an exported policy."""
    described, check = attempt(
        "description", partial(read_json, folder / DESCRIPTION, ModelError), lambda d: f"{d.get('activation')} layers"
    )
    if described is not None:
        check = Check("description", check.found, tuple(description_faults(folder, described)))
    yield check
    tensors, check = attempt("layers", partial(read_tensors, folder / TENSORS), lambda t: f"{len(t)} tensors")
    if tensors is not None:
        squash = bool(described and described.get("squash"))
        layers = {name: value.float() for name, value in tensors.items()}
        check = Check("layers", check.found, tuple(layer_faults(folder / TENSORS, layers, squash)))
    yield check
    policy, check = attempt("actions", partial(load_policy, folder), lambda p: "finite")
    yield _check_actions(folder, policy, check) if isinstance(policy, Policy) else not_looked_at("actions", "policy")


def check_agent(folder: Path) -> Iterator[Check]:
    """What an agent's result says of it, and its policy."""
    result, check = attempt("result", partial(read_json, folder / "result.json"), lambda r: f"{len(r)} entries")
    yield check
    if result is not None:
        wanted = ["command", "seed", "versions.wm_gym", "settings", "task"]
        wanted += ["model"] if result.get("world") == "imagination" else []
        yield check_provenance(folder / "result.json", result, wanted, _REMEDY)
    yield from check_policy(folder / "policy")
    described, _ = attempt("agent", partial(read_json, folder / "policy" / DESCRIPTION), str)
    details = None if described is None else described.get("details")
    if result is None or not isinstance(details, dict):
        yield not_looked_at("agent", "result and the policy")
        return
    differ = [n for n in _SHARED if n in details and n in result and details[n] != result[n]]
    trained_in = details.get("model")
    if trained_in is not None and trained_in != result.get("model"):
        differ.append("model")
    found = [f"{folder}: result.json and policy do not agree on {name!r}: of two agents; {_REMEDY}" for name in differ]
    yield Check("agent", f"{result.get('algorithm')} in {result.get('world')}, seed {result.get('seed')}", tuple(found))


def _check_actions(folder: Path, policy: Policy, check: Check) -> Check:
    """Act on the observations around those that it was trained on."""
    mean, scale = policy.tensors["mean"].numpy(), policy.tensors["scale"].numpy()
    observations = mean + np.linspace(-3, 3, 7, dtype=np.float32)[:, None] * scale
    actions, _ = policy.predict(observations)
    if not np.isfinite(actions).all():
        return Check(check.subject, "not finite", (f"{folder}: its actions are not finite; {_REMEDY}",))
    return check
