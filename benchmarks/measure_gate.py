"""How a safety gate does on a robot that breaks in MuJoCo: false stops, failures found, delays, and what it lets by.

python benchmarks/measure_gate.py model=hopper agent=outputs/behaviours/hopper/trained output=outputs/hopper/gate

The agent plays episodes of the unbroken robot, on which the gate is calibrated, others that it must let pass, and then
episodes in each of which one thing breaks. MuJoCo itself, unbroken and set to the same state at every step, says how
wrong what the robot shows has become.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from wm_gym.config import REQUIRED, run_program
from wm_gym.envs import SafetyGate
from wm_gym.errors import ConfigError
from wm_gym.evaluation.actors import PolicyActor
from wm_gym.evaluation.charts import shown
from wm_gym.evaluation.failures import FailingRobot, Failure, Run, failures, onsets
from wm_gym.evaluation.gate_benchmark import measure_gate
from wm_gym.evaluation.gate_chart import write_risk_chart
from wm_gym.evaluation.identity import command_line, describe_machine, folder_digest, installed_versions
from wm_gym.evaluation.report import plain
from wm_gym.files import write_json
from wm_gym.models import TrainedModel, load_model
from wm_gym.policies import load_policy

FIRST_SEED = 30_000_000
"""Of the episodes that calibrate; far from those of recordings and reports."""


@dataclass
class Settings:
    """Settings of one robot's benchmark."""

    model: str = field(default=REQUIRED, metadata={"help": "a shipped model's name or a model folder"})
    agent: str = field(default=REQUIRED, metadata={"help": "folder of the policy that acts"})
    output: str = field(default=REQUIRED, metadata={"help": "folder for result.json, gate.json and risk.svg"})
    calibration: int = field(default=120, metadata={"help": "unbroken episodes to calibrate on"})
    unbroken: int = field(default=200, metadata={"help": "further unbroken episodes, to count false stops in"})
    episodes: int = field(default=25, metadata={"help": "of each failure"})
    steps: int = field(default=250, metadata={"help": "of an episode, at most the task's own limit"})
    false_stop_rate: float = field(default=0.05, metadata={"help": "share of unbroken episodes that may be stopped"})
    seed: int = field(default=0, metadata={"help": "of the resets and of what breaks"})


def main(settings: Settings) -> None:
    """Break a robot in MuJoCo in a dozen ways, and see what its safety gate makes of it."""
    for name in ("calibration", "unbroken", "episodes", "steps"):
        if getattr(settings, name) < 1:
            raise ConfigError(f"{name}={getattr(settings, name)}: at least 1 is needed")
    trained, policy = load_model(settings.model), load_policy(settings.agent)
    spread = np.where(trained.model.normalizer.moving.numpy(), trained.model.normalizer.std.double().numpy(), 0.0)
    robot = FailingRobot(trained.task, spread)
    try:
        actor = PolicyActor(policy, trained.task.action_space)
        limit = min(settings.steps, trained.task.max_episode_steps)
        first = FIRST_SEED + 1_000_000 * settings.seed

        def play(failure: Failure, start: int, count: int) -> list[Run]:
            seeds = range(first + start, first + start + count)
            whole = failure.name == "none"
            strikes = [limit + 1] * count if whole else onsets(seeds, limit)
            bar = tqdm(list(zip(seeds, strikes, strict=True)), desc=f"{failure.name} {failure.amount}".strip())
            return [robot.play(actor, seed, failure, onset, limit) for seed, onset in bar]

        recorded = play(Failure("none"), 0, settings.calibration)
        gate = SafetyGate.calibrate(trained, [run.episode for run in recorded], settings.false_stop_rate)
        folder = Path(settings.output)
        gate.save(folder / "gate.json")
        speeds = np.concatenate([run.episode.qvel for run in recorded if run.episode.qvel is not None]).std(axis=0)
        none, *broken = failures(spread, speeds, robot.trunk)
        cases = [(none, play(none, 100_000, settings.unbroken))]
        cases += [(failure, play(failure, 200_000, settings.episodes)) for failure in broken]
    finally:
        robot.close()
    values = measure_gate(trained, gate, cases)
    write_risk_chart(folder / "risk.svg", values["risk_coverage"], trained.task.name)
    write_json(folder / "result.json", describe(settings, trained) | plain(values))
    show(values)
    print(f"benchmark: {folder}")


def describe(settings: Settings, trained: TrainedModel) -> dict[str, Any]:
    """What was judged, with what, and how to do it again."""
    return {
        "task": trained.task.name,
        "command": command_line(),
        "machine": describe_machine(),
        "versions": installed_versions(),
        "seed": settings.seed,
        "model": {"name": settings.model, "sha256": trained.manifest["files"]["model.safetensors"]},
        "agent": {"folder": settings.agent, "sha256": folder_digest(Path(settings.agent))},
    }


def show(values: Mapping[str, Any]) -> None:
    """One line for each failure."""
    rows: Sequence[Mapping[str, Any]] = values["table"]
    print(f"\n{'failure':<38}{'stopped or found':>22}{'delay: median, 90 %':>22}{'seconds':>9}{'error':>9}")
    for row in rows:
        share = row.get("stopped") or row.get("found")
        said = "-" if share is None else f"{share['value']:.0%} [{share['low']:.0%}, {share['high']:.0%}]"
        name = f"{row['failure']} {row['amount']}".strip()
        if row["failure"] == "none":
            print(f"{'none: false stops':<38}{said:>22}")
            continue
        steps = [_figure(row["delay_steps"][part]) for part in ("median", "late")]
        seconds, error = _figure(row["delay_seconds"]["median"]), _figure(row["error_after_onset"])
        print(f"{name:<38}{said:>22}{', '.join(steps):>22}{seconds:>9}{error:>9}")
    risk = values["risk_coverage"]
    print(f"error: nRMSE of what the robot shows, against the unbroken one; {shown(risk['all'])} over all steps")
    print(f"let through: {risk['gate']['share']:.0%} of all steps, with an error of {shown(risk['gate']['risk'])}")
    print(f"area under risk against coverage: {shown(risk['area'])} (knowing the error: {shown(risk['best_area'])})\n")


def _figure(value: float | None) -> str:
    return "-" if value is None else shown(value)


if __name__ == "__main__":
    run_program(main, Settings)
