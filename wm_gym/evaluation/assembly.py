"""Puts the report together and writes its folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from wm_gym.data.episodes import Dataset
from wm_gym.evaluation import identity, report
from wm_gym.evaluation.comparison import HELD_OUT_SEED, ComparisonConfig, Evidence, shared_starts
from wm_gym.evaluation.page import render_page
from wm_gym.evaluation.returns import FIRST_SEED, Returns, recorded_returns
from wm_gym.evaluation.rollouts import episode_returns
from wm_gym.evaluation.trajectories import write_trajectories
from wm_gym.files import write_json
from wm_gym.models import TrainedModel
from wm_gym.types import Episode

Plain = dict[str, Any]


@dataclass(frozen=True)
class Circumstances:
    """What the figures depend on beside the worlds: who asked, with what, how long it took."""

    command: str
    wall_seconds: float
    control: str
    """``committed``, ``run`` or ``none``: where the control came from; ``none`` also where none was found."""
    policies: Mapping[str, str]
    """Name -> sha256 of each policy."""
    agent_commands: Sequence[str] = ()


def assemble_report(
    trained: TrainedModel,
    evidence: Evidence,
    earlier: Sequence[Returns],
    dataset: Dataset | None,
    config: ComparisonConfig,
    circumstances: Circumstances,
    generator: np.random.Generator,
) -> Plain:
    """The values of ``report.json``.

    Args:
        trained: the world model.
        evidence: what was measured here.
        earlier: returns that were measured before: a committed control, the data's behaviour.
        dataset: the model's data, if it is at hand.
        config: how much was measured.
        circumstances: who asked.
        generator: resamples.
    """
    entries = [played.returns for played in evidence.played]
    order = {"imagination": 0, "control": 1, "behaviour": 2, "random": 3}
    entries = sorted([*entries, *earlier], key=lambda entry: order[entry.kind])
    task = trained.task
    values: Plain = {
        "schema_version": report.SCHEMA_VERSION,
        "task": task.to_dict(),
        "returns": report.returns_section(entries, FIRST_SEED, config.episodes, generator),
        "open_loop": evidence.open_loop.section,
        "film": evidence.film_section,
        "data": describe_data(trained, dataset, evidence),
        "identity": _identity(trained, config, circumstances),
        "limits": report.limits(task, circumstances.control),
    }
    values["warnings"] = report.warnings(values)
    values["headline"], values["summary"] = report.headline(values), report.summary(values)
    plain = report.plain(values)
    assert isinstance(plain, dict)
    return plain


def write_report(folder: Path, values: Plain, evidence: Evidence) -> Path:
    """Write ``report.json``, ``report.html``, ``trajectories.parquet`` and ``result.json``; returns the page's path.

    Each file replaces an older one whole, and none does before all could be written.
    """
    page = render_page(values, evidence.film)
    folder.mkdir(parents=True, exist_ok=True)
    waiting = folder / f".report.{os.getpid()}.html"
    waiting.write_text(page, encoding="utf-8")
    try:
        write_trajectories(folder / "trajectories.parquet", evidence.records(), {"task": trained_name(values)})
        write_json(folder / "report.json", values)
        write_json(folder / "result.json", summarize(values))
        waiting.replace(folder / "report.html")
    finally:
        waiting.unlink(missing_ok=True)
    return folder / "report.html"


def trained_name(values: Plain) -> str:
    """The task's name."""
    return str(values["task"]["name"])


def summarize(values: Plain) -> Plain:
    """The few figures that other programs read."""
    return {
        "task": trained_name(values),
        "headline": values["headline"],
        "returns": [
            {"name": row["name"], "kind": row["kind"], **{key: row[key] for key in ("physical", "imagined", "gap")}}
            for row in report.method_rows(values["returns"])
        ],
        "valid_time": values["open_loop"]["valid_time"],
        "warnings": values["warnings"],
        "wall_seconds": values["identity"]["wall_seconds"],
    }


def behaviour_returns(trained: TrainedModel, dataset: Dataset | None, generator: np.random.Generator) -> list[Returns]:
    """What the data's own behaviours earned: from the episodes if they are at hand, else as the model recorded it."""
    if dataset is not None:
        groups: dict[str, list[Episode]] = {}
        for episode in dataset.episodes():
            # An episode that was cut when the recording had enough steps has no return to compare.
            if episode.terminated or len(episode) >= dataset.task.max_episode_steps:
                groups.setdefault(episode.behaviour or "recorded", []).append(episode)
        return [
            recorded_returns(
                f"data: {name}",
                "behaviour",
                episode_returns(members),
                generator,
                float(np.mean([len(member) for member in members])),
                {"note": f"{len(members)} recorded episodes"},
            )
            for name, members in sorted(groups.items())
        ]
    known = dict(trained.manifest.get("dataset", {})).get("returns", {})
    return [
        recorded_returns(
            f"data: {name}",
            "behaviour",
            np.array(earned, dtype=np.float64),
            generator,
            details={"note": f"{len(earned)} recorded episodes, from the model's manifest"},
        )
        for name, earned in sorted(known.items())
    ]


def describe_data(trained: TrainedModel, dataset: Dataset | None, evidence: Evidence) -> Plain:
    """What the model learnt from, and whether any of it is among the episodes it is judged on."""
    known = dict(trained.manifest.get("dataset", {}))
    found: Plain = {
        "sha256": known.get("sha256"),
        "episodes": known.get("episodes"),
        "steps": known.get("steps"),
        "split": known.get("split"),
        "licence": trained.manifest.get("licence"),
    }
    if dataset is None:
        return found | {"leak_check": "not made: dataset=FOLDER was not given"}
    shared = shared_starts(dataset, evidence)
    return found | {
        "folder": str(dataset.folder),
        "behaviours": dict(sorted(Counter(dataset.behaviours).items())),
        "matches_model": dataset.digest() == known.get("sha256"),
        "shared_starts": shared,
        "leak_check": f"{shared} of {len(dataset)} recorded episodes begin where an episode of this report begins",
    }


def _identity(trained: TrainedModel, config: ComparisonConfig, circumstances: Circumstances) -> Plain:
    manifest = trained.manifest
    made = [str(command) for command in manifest.get("commands", []) if command]
    commands = [{"makes": "the data and the model", "command": "\n".join(made)}] if made else []
    commands += [{"makes": "a policy", "command": command} for command in circumstances.agent_commands]
    return {
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "wall_seconds": round(circumstances.wall_seconds, 1),
        "model": {
            "folder": str(trained.folder) if trained.folder else None,
            "sha256": dict(manifest.get("files", {})).get("model.safetensors"),
            "family": trained.model.family,
            "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
            "training_seed": manifest.get("seed"),
            "versions": manifest.get("versions"),
        },
        "policies": dict(circumstances.policies),
        "machine": identity.describe_machine(),
        "versions": identity.installed_versions(),
        "settings": asdict(config),
        "seeds": {
            "report": config.seed,
            "returns": f"{FIRST_SEED} to {FIRST_SEED + config.episodes - 1}",
            "held_out": f"{HELD_OUT_SEED} to {HELD_OUT_SEED + config.episodes - 1}",
        },
        "commands": [*commands, {"makes": "this report", "command": circumstances.command}],
    }
