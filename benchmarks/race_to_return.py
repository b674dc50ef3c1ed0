"""Seconds to a policy of a given return: stable-baselines3's PPO from nothing, through imagination and in MuJoCo.

python benchmarks/race_to_return.py task=reacher output=outputs/reacher/race

Imagination pays for all of it: recording random motion, fitting the model to it, and learning in it. What that policy
earns in MuJoCo, without exploring, is the return to reach; PPO in MuJoCo has reached it when the mean of its last
hundred episodes has, exploring as it learns, or when it is tried after its last step. Give the race a machine that does
nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wm_gym.config import REQUIRED, run_program
from wm_gym.errors import ConfigError
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.files import read_json, write_json
from wm_gym.physics.tasks import task_spec

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Settings:
    """Settings of one race."""

    task: str = field(default=REQUIRED, metadata={"help": "a robot of wm_gym.physics.tasks"})
    output: str = field(default=REQUIRED, metadata={"help": "folder for what is recorded, fitted and trained"})
    num_steps: int = field(default=20_000, metadata={"help": "of random and smooth random motion, recorded"})
    updates: int = field(default=12_000, metadata={"help": "of the world model's fit"})
    imagined: int = field(default=2_000_000, metadata={"help": "steps of PPO in imagination"})
    physical: int = field(default=2_000_000, metadata={"help": "steps of PPO in MuJoCo, at most"})
    num_envs: int = field(default=8, metadata={"help": "robots side by side in MuJoCo"})
    settings: dict[str, Any] = field(default_factory=dict, metadata={"help": "of PPO in MuJoCo, replacing SB3's own"})
    normalize: bool = field(default=True, metadata={"help": "running scales of observation and reward in MuJoCo"})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "of recordings, fits and agents"})


def main(config: Settings) -> None:
    """Time PPO to a given return, through imagination and in MuJoCo."""
    for name in ("num_steps", "updates", "imagined", "physical", "num_envs"):
        if getattr(config, name) < 1:
            raise ConfigError(f"{name}={getattr(config, name)}: at least 1 is needed")
    if not config.seeds:
        raise ConfigError("seeds=[]: at least one")
    output, task = Path(config.output).resolve(), task_spec(config.task).name  # its programs run elsewhere
    print(f"{task}: {len(config.seeds)} races of about 15 minutes on two cores; finished parts are not run again")
    races = [race(config, task, output / f"seed_{seed}", seed) for seed in config.seeds]
    result = {
        "task": task,
        "command": command_line(),
        "machine": describe_machine(),
        "versions": installed_versions(),
        "races": races,
    }
    write_json(output / "result.json", result)
    for found in races:
        parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in found["seconds"].items())
        other = "never" if found["physics_seconds"] is None else f"{found['physics_seconds']:.0f} s"
        through = f"after {sum(found['seconds'].values()):.0f} s through imagination ({parts})"
        print(f"seed {found['seed']}: return {found['return']:.2f} {through}, in MuJoCo after {other}")
    print(f"benchmark: {output}")


def race(config: Settings, task: str, folder: Path, seed: int) -> dict[str, Any]:
    """Both ways for one seed: what each part took, and when MuJoCo's agent had the return of imagination's."""
    data, model = folder / "data", folder / "model"
    recipe = [f"num_steps={config.num_steps}", "cameras=[]", "behaviours={random:0.5,smooth:0.5}"]
    fit = [f"dataset={data}", f"updates={config.updates}", f"seed={seed}"]
    agent = ["algorithm=ppo", f"seed={seed}"]
    inside = [f"model={model}", f"steps={config.imagined}"]
    outside = ["world=physics", f"task={task}", f"steps={config.physical}"]
    outside += [f"num_envs={config.num_envs}", f"normalize={config.normalize}".lower()]
    outside += [f"settings.{name}={value}" for name, value in config.settings.items()]
    seconds = {
        "recording": timed(["datasets/collect_episodes.py", f"task={task}", f"seed={seed}", *recipe], data),
        "fitting": timed(["-m", "wm_gym.train", *fit], model),
        "learning": timed(["agents/train_agent.py", *agent, *inside], folder / "imagined"),
    }
    run(["agents/train_agent.py", *agent, *outside], folder / "physical")  # it keeps its own time, interrupted or not
    imagined, physical = (read_json(folder / name / "result.json") for name in ("imagined", "physical"))
    seconds["learning"] += imagined["training_seconds"] - imagined["wall_seconds"]  # trying it is no part of the race
    earned = imagined["trial"]["ppo"]["physical"]
    return {
        "seed": seed,
        "seconds": seconds,
        "return": earned["value"],
        "interval": [earned["low"], earned["high"]],
        "physics_return": physical["trial"]["ppo"]["physical"]["value"],
        "physics_seconds": reached(physical, earned["value"]),
    }


def timed(command: Sequence[str], output: Path) -> float:
    """Run a program of ours that writes ``output``, start to end; a finished one tells what it took then.

    Raises:
        ConfigError: it failed, it was interrupted, or what is finished had other settings.
    """
    kept = Path(f"{output}.seconds.json")
    if kept.exists():
        done = read_json(kept)
        if done["command"] != list(command):
            made = " ".join(done["command"])
            raise ConfigError(f"{output} was made by {made!r}: delete it, or choose another output")
        return float(done["seconds"])
    for begun in (Path(f"{output}{ending}") for ending in ("", ".partial", ".staging")):
        if begun.exists():
            raise ConfigError(f"{begun} was interrupted, so nobody knows how long it takes: delete it")
    started = time.perf_counter()
    run(command, output)
    taken = time.perf_counter() - started
    write_json(kept, {"command": list(command), "seconds": taken})
    return taken


def run(command: Sequence[str], output: Path) -> None:
    """Run a program of ours that writes ``output``, with its own words and bars.

    Raises:
        ConfigError: it failed; it has said why.
    """
    done = subprocess.run([sys.executable, *command, f"output={output}"], cwd=ROOT, check=False)
    if done.returncode:
        raise ConfigError(f"{' '.join(command[:2])} failed for {output}, as it says above")


def reached(physical: dict[str, Any], wanted: float) -> float | None:
    """Seconds until MuJoCo's agent earned so much, by its learning curve or by its trial at the end; None for never."""
    for point in physical["curve"]:
        if point["return"] >= wanted:
            return float(point["seconds"])
    at_last: float = physical["trial"]["ppo"]["physical"]["value"]
    return float(physical["training_seconds"]) if at_last >= wanted else None


if __name__ == "__main__":
    run_program(main, Settings)
