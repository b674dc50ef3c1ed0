"""Train a panel of policies in MuJoCo, from useless to good, to judge whether a world model ranks them alike.

python agents/train_panel.py task=hopper output=outputs/hopper/panel
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from wm_gym.config import REQUIRED, run_program
from wm_gym.errors import ConfigError
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.evaluation.returns import FIRST_SEED
from wm_gym.evaluation.rollouts import episode_returns, physical_episodes
from wm_gym.evaluation.statistics import mean_interval
from wm_gym.files import read_json, write_json
from wm_gym.physics.tasks import make_physics, task_spec
from wm_gym.policies.panel import PanelPolicy, mirrored, write_panel
from wm_gym.policies.panel_training import Run, plan_runs, train_runs
from wm_gym.policies.scripted import write_scripts
from wm_gym.types import TaskSpec


@dataclass
class PanelConfig:
    """Settings of one panel."""

    task: str = field(default=REQUIRED, metadata={"help": "a robot of wm_gym.physics.tasks"})
    output: str = field(default=REQUIRED, metadata={"help": "panel folder to write"})
    policies: int = field(default=24, metadata={"help": "to train; five that are not trained join them"})
    workers: int = field(default=0, metadata={"help": "processes of one thread; 0: one per core, 8 at most"})
    seed: int = field(default=0, metadata={"help": "of the panel; every policy has its own, derived from it"})
    scale: float = field(default=1.0, metadata={"help": "of the lengths: 10,000 to 200,000 steps, SAC to 50,000"})
    episodes: int = field(default=20, metadata={"help": f"in MuJoCo for each policy, seeds from {FIRST_SEED}"})


def main(config: PanelConfig) -> None:
    """Train a panel of policies in MuJoCo, from useless to good, to judge whether a world model ranks them alike."""
    output, task = Path(config.output), replace(task_spec(config.task), cameras=())
    if output.exists():
        _check_complete(config, output)
        print(f"panel: {output} is complete already (delete it to train another)")
        return
    if config.episodes < 2:
        raise ConfigError(f"episodes={config.episodes}: at least 2 are needed for an interval")
    runs = plan_runs(config.policies, config.seed, config.scale)
    workers = config.workers if config.workers > 0 else min(os.cpu_count() or 1, 8)
    _announce(task, runs, config.episodes, workers)
    started, work, judge = time.perf_counter(), Path(f"{output}.partial"), partial(play, task, config.episodes)
    with tqdm(total=100.0, desc="train", file=sys.stderr, bar_format="{l_bar}{bar}| {elapsed}{postfix}") as bar:

        def progress(seconds: float, finished: int) -> None:
            bar.set_postfix_str(f"{finished}/{len(runs)} policies", refresh=False)
            bar.update(100.0 * seconds / sum(run.seconds for run in runs) - bar.n)

        panel = train_runs(task, runs, _settings(config), work, workers, judge, progress)
    print("trying the policies that are not trained", flush=True)
    panel += untrained(task, panel, config.seed, judge)
    generator = np.random.default_rng(config.seed)
    panel = [with_interval(policy, generator) for policy in panel]
    write_panel(work / "panel", task, panel)
    write_json(work / "panel" / "result.json", _record(config, panel, time.perf_counter() - started))
    (work / "panel").rename(output)
    shutil.rmtree(work)
    _print_table(panel)
    print(f"panel: {output}")


def play(task: TaskSpec, episodes: int, policy: PanelPolicy) -> list[float]:
    """Returns of a policy in MuJoCo, the same starts for all."""
    env = make_physics(task)
    seeds = range(FIRST_SEED, FIRST_SEED + episodes)
    returns = episode_returns(physical_episodes(env, policy, seeds, task.control_dt, policy.name))
    env.close()
    return [round(float(value), 4) for value in returns]


def untrained(task: TaskSpec, trained: Sequence[PanelPolicy], seed: int, judge: Any) -> list[PanelPolicy]:
    """The scripted policies, uniform random actions, and the opposite of the best trained policy."""
    scripts = write_scripts(task.action_space, task.control_dt, seed)
    others = [PanelPolicy(n, "random" if n == "random" else "scripted", script, {}) for n, script in scripts.items()]
    others.append(mirrored("adversarial", max(trained, key=lambda policy: np.mean(policy.details["returns"]))))
    return [replace(policy, details={**policy.details, "returns": judge(policy)}) for policy in others]


def with_interval(policy: PanelPolicy, generator: np.random.Generator) -> PanelPolicy:
    """The policy with the mean of its returns and the interval around it."""
    interval = mean_interval(np.array(policy.details["returns"]), generator).to_dict()
    figures = {name: round(value, 4) for name, value in interval.items()}
    return replace(policy, details={**policy.details, "return": figures})


def _settings(config: PanelConfig) -> dict[str, Any]:
    """What makes two panels the same panel, as JSON reads it back."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return {name: value for name, value in settings.items() if name not in ("output", "workers")}


def _check_complete(config: PanelConfig, output: Path) -> None:
    result = output / "result.json"
    if not result.exists() or read_json(result).get("settings") != _settings(config):
        raise ConfigError(f"{output} holds something else: delete it, or choose another output")


def _announce(task: TaskSpec, runs: Sequence[Run], episodes: int, workers: int) -> None:
    """Say what will be done and about how long it takes."""
    algorithms = sorted({run.algorithm for run in runs})
    counts = ", ".join(f"{sum(run.algorithm == name for run in runs)} {name.upper()}" for name in algorithms)
    tries = episodes * task.max_episode_steps * len(runs) / 3000  # at most: a policy that falls is tried sooner
    longest = max(run.seconds for run in runs)
    minutes = max((sum(run.seconds for run in runs) + tries) / workers, longest) / 60
    duration = "less than a minute" if minutes < 1 else f"about {minutes:.0f} minutes, if it is as fast as hopper"
    print(f"{task.name}: {len(runs)} policies ({counts}), {sum(run.steps for run in runs):,} steps in MuJoCo,")
    print(f"then {episodes} episodes of each; {workers} at a time, {duration}", flush=True)


def _record(config: PanelConfig, panel: Sequence[PanelPolicy], seconds: float) -> dict[str, Any]:
    return {
        "settings": _settings(config),
        "policies": len(panel),
        "returns": {policy.name: policy.details["return"] for policy in panel},
        "wall_seconds": round(seconds, 1),
        "command": command_line(),
        "machine": describe_machine(),
        "versions": installed_versions(),
    }


def _print_table(panel: Sequence[PanelPolicy]) -> None:
    print(f"\n{'policy':<14}{'kind':<14}{'steps':>9}   return in MuJoCo")
    for policy in sorted(panel, key=lambda policy: policy.details["return"]["value"]):
        steps, figures = policy.details.get("steps"), policy.details["return"]
        interval = f"{figures['value']:.1f} [{figures['low']:.1f}, {figures['high']:.1f}]"
        print(f"{policy.name:<14}{policy.kind:<14}{'-' if steps is None else f'{steps:,}':>9}   {interval}")


if __name__ == "__main__":
    run_program(main, PanelConfig)
