"""What exactly was judged: hashes, versions, seeds, machine, commands, cost; the model's card and its data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from wm_gym.data.episodes import Dataset
from wm_gym.evaluation import identity
from wm_gym.evaluation.bench import HELD_OUT_SEED, ReportConfig
from wm_gym.evaluation.returns import FIRST_SEED, Returns, recorded_returns
from wm_gym.evaluation.rollouts import episode_returns
from wm_gym.evaluation.trajectories import Recorded
from wm_gym.models import TrainedModel
from wm_gym.types import Episode, FloatArray

Plain = dict[str, Any]


@dataclass(frozen=True)
class Circumstances:
    """What the figures depend on beside the worlds: who asked, with what, how long it took."""

    command: str
    wall_seconds: float
    cpu_seconds: float
    control: str
    """``committed``, ``run`` or ``none``: where the control came from; ``none`` also where none was found."""
    policies: Mapping[str, str]
    """Name -> sha256 of each agent."""
    panel: Mapping[str, Any] | None = None
    """Folder, sha256 and checkpoint rule of the panel."""
    agent_commands: Sequence[str] = ()


def describe_identity(trained: TrainedModel, config: ReportConfig, circumstances: Circumstances) -> Plain:
    """Everything that names the judged model and how the report was made."""
    manifest = trained.manifest
    made = [str(command) for command in manifest.get("commands", []) if command]
    commands = [{"makes": "the data and the model", "command": "\n".join(made)}] if made else []
    commands += [{"makes": "a policy", "command": command} for command in circumstances.agent_commands]
    return {
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "wall_seconds": round(circumstances.wall_seconds, 1),
        "cpu_seconds": round(circumstances.cpu_seconds, 1),
        "model": {
            "folder": str(trained.folder) if trained.folder else None,
            "sha256": dict(manifest.get("files", {})).get("model.safetensors"),
            "family": trained.model.family,
            "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
            "training_seed": manifest.get("seed"),
            "versions": manifest.get("versions"),
        },
        "policies": dict(circumstances.policies),
        "panel": dict(circumstances.panel) if circumstances.panel else None,
        "machine": identity.describe_machine(),
        "versions": identity.installed_versions(),
        "seeds": {
            "report": config.seed,
            "starts": f"{FIRST_SEED} to {FIRST_SEED + max(config.episodes, config.panel_episodes) - 1}",
            "held_out": f"{HELD_OUT_SEED} to {HELD_OUT_SEED + config.episodes - 1}",
        },
        "commands": [*commands, {"makes": "this report", "command": circumstances.command}],
    }


def model_card(trained: TrainedModel) -> Plain:
    """What the model is for, and what it is not for (after Mitchell et al. 2019, "Model cards for model reporting")."""
    task, known = trained.task, dict(trained.manifest.get("dataset", {}))
    steps = known.get("steps")
    learnt = f"{steps:,} recorded steps" if isinstance(steps, int) else "recordings"
    return {
        "robot": task.env_id or task.name,
        "intended_use": f"Imagining episodes of {task.name} from state observations, as far as the verdicts above say.",
        "not_for": "Controlling a real robot without a trial in the physics, or robots, rewards and sensors other than "
        "the recorded ones.",
        "learnt_from": f"{learnt} in {known.get('episodes', 'some')} episodes",
        "limits": "It knows nothing outside its data: an observation says trusted=False there, and at ten times the "
        "recorded range the episode ends.",
        "episode_limit": task.max_episode_steps,
        "control_period_s": task.control_dt,
        "licence_of_data": trained.manifest.get("licence"),
    }


def describe_data(trained: TrainedModel, dataset: Dataset | None, kept: Sequence[Recorded]) -> Plain:
    """What the model learnt from, and whether any of it is among the episodes it is judged on.

    Args:
        trained: the model.
        dataset: its data, if it is at hand.
        kept: the report's own episodes.
    """
    known = dict(trained.manifest.get("dataset", {}))
    found: Plain = {name: known.get(name) for name in ("sha256", "episodes", "steps", "split", "origin")}
    found["licence"] = trained.manifest.get("licence")
    found["coverage"] = coverage(trained, [e for group in kept if group.world == "physics" for e in group.episodes])
    if dataset is None:
        return found | {"leak_check": "not made: dataset=FOLDER was not given"}
    ours = {_start(episode) for group in kept if group.world == "physics" for episode in group.episodes}
    shared = sum(_start(episode) in ours for episode in dataset.episodes())
    return found | {
        "folder": str(dataset.folder),
        "behaviours": dict(sorted(Counter(dataset.behaviours).items())),
        "matches_model": dataset.digest() == known.get("sha256"),
        "shared_starts": shared,
        "leak_check": f"{shared} of {len(dataset)} recorded episodes begin where an episode of this report begins",
    }


def coverage(trained: TrainedModel, episodes: Sequence[Episode]) -> Plain | None:
    """The share of MuJoCo's steps in this report that look like the recorded ones; None where there are none."""
    if not episodes:
        return None
    states = torch.from_numpy(np.concatenate([episode.observations[1:] for episode in episodes])).float()
    actions = torch.from_numpy(np.concatenate([episode.actions for episode in episodes])).float()
    inside = trained.support.contains(states, actions)
    return {"physical_steps": len(inside), "share_like_the_recorded": float(inside.float().mean())}


def behaviour_returns(trained: TrainedModel, dataset: Dataset | None, generator: np.random.Generator) -> list[Returns]:
    """What the data's own behaviours earned: from the episodes if they are at hand, else as the model recorded it."""
    if dataset is None:
        known = dict(trained.manifest.get("dataset", {})).get("returns", {})
        groups: dict[str, FloatArray] = {name: np.array(earned, dtype=np.float64) for name, earned in known.items()}
        lengths = dict.fromkeys(groups, float("nan"))
        source = ", from the model's manifest"
    else:
        members: dict[str, list[Episode]] = {}
        for episode in dataset.episodes():
            # An episode that was cut when the recording had enough steps has no return to compare.
            if episode.terminated or len(episode) >= dataset.task.max_episode_steps:
                members.setdefault(episode.behaviour or "recorded", []).append(episode)
        groups = {name: episode_returns(found) for name, found in members.items()}
        lengths = {name: float(np.mean([len(episode) for episode in found])) for name, found in members.items()}
        source = ""
    return [
        recorded_returns(
            f"data: {name}",
            "behaviour",
            groups[name],
            generator,
            lengths[name],
            {"note": f"{len(groups[name])} recorded episodes{source}"},
        )
        for name in sorted(groups)
        if len(groups[name])
    ]


def _start(episode: Episode) -> bytes:
    return np.ascontiguousarray(episode.observations[0], dtype=np.float32).tobytes()
