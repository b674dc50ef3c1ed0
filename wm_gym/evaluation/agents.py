"""An agent's output folder as a contender: its exported policy, and what its ``result.json`` says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wm_gym.errors import ModelError
from wm_gym.evaluation.actors import PolicyActor
from wm_gym.evaluation.identity import folder_digest
from wm_gym.evaluation.returns import Contender
from wm_gym.files import read_json
from wm_gym.policies.policy import load_policy
from wm_gym.types import TaskSpec


@dataclass(frozen=True)
class Agent:
    """A trained policy and its provenance."""

    contender: Contender
    sha256: str
    command: str
    """That made it; empty where it is not known."""


def read_agent(folder: str | Path, task: TaskSpec) -> Agent:
    """Read what ``agents/train_agent.py`` wrote.

    Raises:
        ModelError: there is no policy in the folder, it is damaged, or it acts in another task.
    """
    path = Path(folder)
    policy = load_policy(path)
    result: Mapping[str, Any] = read_json(path / "result.json") if (path / "result.json").is_file() else {}
    size = task.observation_space.size
    try:
        actions = np.asarray(policy.predict(np.zeros((1, size), np.float32), deterministic=True)[0])
    except ValueError as error:
        raise ModelError(f"{path}: not a policy for {task.name} ({error})") from error
    if actions.shape != (1, task.action_space.size):
        wanted = task.action_space.size
        raise ModelError(f"{path}: gives {actions.shape[-1]} actions where {task.name} takes {wanted}")
    details = {**dict(getattr(policy, "details", {})), **result}
    inside = details.get("world", "imagination") != "physics"
    algorithm, seed = str(details.get("algorithm", "policy")), details.get("seed", 0)
    place = "in imagination" if inside else "in MuJoCo"
    steps = details.get("steps")
    return Agent(
        Contender(
            f"{algorithm.upper()} {place}, seed {seed}",
            "imagination" if inside else "control",
            PolicyActor(policy, task.action_space),
            {
                "algorithm": algorithm,
                "seed": seed,
                "imagined_steps": steps if inside else None,
                "real_steps": details.get("real_steps") if inside else steps,
                "folder": str(path),
                "model_sha256": dict(details.get("model") or {}).get("model.safetensors") if inside else None,
            },
        ),
        folder_digest(path / "policy" if (path / "policy").is_dir() else path),
        str(result.get("command", "")),
    )
