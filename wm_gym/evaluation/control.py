"""What training in the physics itself gives: read from results that were measured earlier, or measured anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wm_gym.errors import ConfigError
from wm_gym.evaluation.actors import PolicyActor
from wm_gym.evaluation.returns import Contender, Returns, recorded_returns
from wm_gym.physics.tasks import make_physics
from wm_gym.policies.training import LearnConfig, learn
from wm_gym.types import TaskSpec


def read_control(path: Path, real_steps: int | None, generator: np.random.Generator) -> list[Returns]:
    """Contenders of a committed result: one for each training seed.

    Args:
        path: JSON with ``rows``, each with ``method``, ``seed``, ``real_steps`` and ``episode_returns``.
        real_steps: only runs of so many steps are comparable; None takes all.
        generator: resamples the episodes.

    Returns:
        Nothing where the file does not exist, or holds no run of that length.

    Raises:
        ConfigError: the file exists and is damaged.
    """
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text())["rows"]
        # A table of transfer holds agents of both worlds: only those trained in the physics are a control.
        rows = [row for row in rows if row.get("world", "physics") == "physics"]
        return [_contender(row, path, generator) for row in rows if real_steps in (None, int(row["real_steps"]))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not a result of agents ({type(error).__name__}: {error}); restore it") from error


def _contender(row: Mapping[str, Any], path: Path, generator: np.random.Generator) -> Returns:
    return recorded_returns(
        f"{row['method']}, seed {row['seed']}",
        "control",
        np.array(row["episode_returns"], dtype=np.float64),
        generator,
        details={"seed": int(row["seed"]), "real_steps": int(row["real_steps"]), "note": f"read from {path.name}"},
    )


def train_control(task: TaskSpec, real_steps: int, seed: int, work: Path) -> Contender:
    """Train stable-baselines3's SAC, all settings its own, in the physics for so many real steps.

    An interrupted training is taken up from ``work``.
    """
    config = LearnConfig(algorithm="sac", world="physics", steps=real_steps, num_envs=1, seed=seed)
    learnt = learn(config, task, None, work, make_physics)
    details = {"algorithm": "sac", "seed": seed, "real_steps": real_steps, "note": "trained for this report"}
    return Contender(f"SAC in MuJoCo, seed {seed}", "control", PolicyActor(learnt.policy, task.action_space), details)
