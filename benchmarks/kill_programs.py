"""Kill programs at random moments: each goes on to the result it would have had, and leaves nothing behind.

python benchmarks/kill_programs.py kills=50 output=outputs/kills

SIGKILL lets a process clean nothing up. It meets the recording of a dataset (with two worker processes), the fit of a
model and the training of an agent; each is then called again, and killed again. After every kill its processes must be
gone, and what stands under the output's name must be whole. In the end the same command must come to the same result
as without a kill. A fourth process does nothing but save models, policies, settings and episodes over older ones.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import count
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from wm_gym.config import REQUIRED, run_program
from wm_gym.data.episodes import open_dataset
from wm_gym.errors import ConfigError, WorldModelError
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.files import file_hash, read_json, write_json
from wm_gym.models import load_model
from wm_gym.policies.policy import load_policy
from wm_gym.testing import inputs
from wm_gym.verify import verify_folder

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 60.0
"""Seconds within which the processes of a killed program must be gone."""


@dataclass
class KillConfig:
    """Settings of one run."""

    output: str = field(default=REQUIRED, metadata={"help": "folder for result.json"})
    kills: int = field(default=50, metadata={"help": "of each program"})
    seed: int = field(default=0, metadata={"help": "of the moments"})
    programs: list[str] = field(
        default_factory=lambda: ["collect", "train", "agent", "save"], metadata={"help": "which to kill"}
    )


@dataclass(frozen=True)
class Victim:
    """A program to kill."""

    command: tuple[str, ...]
    """Without its output."""
    complete: str
    """File of the output by which it is known to be complete, and all of it to be whole."""
    result: Callable[[Path], str]
    """Says in a few words what came out, the same for equal results."""


@dataclass
class Tally:
    """What was seen of one program."""

    kills: int = 0
    finished: int = 0
    """Runs that ended before they were killed."""
    slowest_end: float = 0.0
    """Most seconds until all processes of a killed run were gone."""
    faults: list[str] = field(default_factory=list)


def main(config: KillConfig) -> None:
    """Kill programs at random moments, and see that each goes on to its result and leaves nothing behind."""
    work, known = Path(config.output) / "work", [*victims(Path()), "save"]
    if unknown := [name for name in config.programs if name not in known]:
        raise ConfigError(f"programs=[{unknown[0]}]: one of {', '.join(known)}")
    if config.kills < 1:
        raise ConfigError(f"kills={config.kills}: a positive number is needed")
    shutil.rmtree(work, ignore_errors=True)
    inputs.write_dataset(work / "toy" / "data", episodes=8)
    print(f"{config.kills} kills of each of {', '.join(config.programs)}; about 10 seconds each", flush=True)
    generator, tallies = np.random.default_rng(config.seed), {}
    for name in config.programs:
        moments = tqdm(generator.uniform(size=config.kills).tolist(), desc=name, unit="kill")
        folder = work / name
        folder.mkdir(parents=True)
        tallies[name] = kill_saving(folder, moments) if name == "save" else kill(victims(work)[name], folder, moments)
    shutil.rmtree(work)
    conclude(config, tallies)


def victims(work: Path) -> Mapping[str, Victim]:
    """The programs, each small enough to end in seconds."""
    python, dataset = sys.executable, f"dataset={work / 'toy' / 'data'}"
    collect = ("task=hopper", "cameras=[]", "num_steps=400", "workers=2", "behaviours={random:0.5,smooth:0.5}")
    fit = ("updates=400", "batch_size=16", "longest_horizon=2", "width=8", "layers=1", "members=2", "threads=1")
    agent = ("steps=4000", "num_envs=8", "settings={n_steps:50,batch_size:50,n_epochs:2}", "episodes=2", "threads=1")
    return {
        "collect": Victim(
            (python, str(ROOT / "datasets" / "collect_episodes.py"), *collect),
            "meta/MANIFEST.json",
            lambda folder: open_dataset(folder).digest(),
        ),
        "train": Victim(
            (python, "-m", "wm_gym.train", dataset, *fit),
            "MANIFEST.json",
            lambda folder: file_hash(folder / "model.safetensors"),
        ),
        "agent": Victim(
            (python, str(ROOT / "agents" / "train_agent.py"), "model=reacher", *agent),
            "result.json",
            lambda folder: (
                f"{file_hash(folder / 'policy' / 'policy.safetensors')} {read_json(folder / 'result.json')['trial']}"
            ),
        ),
    }


def kill(victim: Victim, folder: Path, moments: Any) -> Tally:
    """Kill a program again and again while it works towards one output, then let it end."""
    tally = Tally()
    started = time.monotonic()
    finish(victim, folder / "whole")
    duration, expected = time.monotonic() - started, victim.result(folder / "whole")
    output = folder / "part"
    for moment in moments:
        program = start(victim, output)
        try:
            program.wait(timeout=moment * duration)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
            tally.kills += 1
        else:
            tally.finished += 1
        tally.slowest_end = max(tally.slowest_end, wait_until_alone(program.pid, tally))
        tally.faults += faults(victim, output)
        if program.returncode not in (0, -signal.SIGKILL):
            tally.faults.append(f"ended with {program.returncode}")
        if program.returncode == 0:
            tally.faults += compare(victim, output, expected, folder)
            shutil.rmtree(output)
    finish(victim, output)
    tally.faults += compare(victim, output, expected, folder)
    return tally


def start(victim: Victim, output: Path) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, by which its processes are known."""
    return subprocess.Popen(
        [*victim.command, f"output={output}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=ROOT,
    )


def finish(victim: Victim, output: Path) -> None:
    """Let a program come to its end."""
    done = subprocess.run([*victim.command, f"output={output}"], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode != 0:
        raise WorldModelError(f"{' '.join(victim.command)} failed: {done.stderr.strip().splitlines()[-1]}")


def wait_until_alone(group: int, tally: Tally) -> float:
    """Seconds until no process of a session is left."""
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < PATIENCE:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return elapsed
        time.sleep(0.02)
    os.killpg(group, signal.SIGKILL)
    tally.faults.append(f"processes were still there after {PATIENCE:.0f} s")
    return PATIENCE


def faults(victim: Victim, output: Path) -> list[str]:
    """What is wrong with an output that says it is complete; half of one has another name."""
    if not (output / victim.complete).exists():
        return []
    return [fault for check in verify_folder(output) for fault in check.faults]


def compare(victim: Victim, output: Path, expected: str, folder: Path) -> list[str]:
    """What differs from the run that nobody killed, and what is left beside the output."""
    found = [] if victim.result(output) == expected else ["the result is another than without a kill"]
    left = sorted({path.name for path in folder.iterdir()} - {"whole", "part"})
    found += [f"{path} was left in the output" for path in output.rglob(".*")]
    return found + [f"{name} was left beside the output" for name in left] + faults(victim, output)


# Saving


def save_for_ever(folder: Path, begun: Event) -> None:
    """Save everything that can be saved over what was saved before."""
    models = [inputs.make_model(seed) for seed in (0, 1)]
    writer = inputs.open_recording(folder / "data")
    episode = inputs.make_episode(0, frames=True)
    for turn in count():
        models[turn % 2].save(folder / "model")
        inputs.make_policy(turn % 2).save(folder / "policy")
        write_json(folder / "settings.json", {"turn": turn, "more": list(range(1000))})
        writer.discard("ep-0")
        writer.stage("ep-0", episode)
        begun.set()


def kill_saving(folder: Path, moments: Any) -> Tally:
    """Kill a process that saves, and look at what it was saving."""
    tally = Tally()
    for moment in moments:
        context = multiprocessing.get_context("spawn")
        begun = context.Event()
        process = context.Process(target=save_for_ever, args=(folder, begun))
        process.start()
        begun.wait(timeout=300)
        time.sleep(0.5 * moment)
        process.kill()
        process.join()
        tally.kills += 1
        try:
            load_model(folder / "model")
            load_policy(folder / "policy")
            read_json(folder / "settings.json")
            writer = inputs.open_recording(folder / "data")
            for key in writer.staged():
                writer.load_staged(key)
        except WorldModelError as error:
            tally.faults.append(str(error))
    models, policy = inputs.make_model(), inputs.make_policy()
    models.save(folder / "model")
    policy.save(folder / "policy")
    write_json(folder / "settings.json", {})
    inputs.open_recording(folder / "data").staged()
    tally.faults += [f"{path.relative_to(folder)} was left" for path in folder.rglob(".*")]
    return tally


def conclude(config: KillConfig, tallies: Mapping[str, Tally]) -> None:
    """Print the table, leave result.json, and end with an error where a fault was found."""
    print(f"\n{'program':<12}{'kills':>7}{'ended before':>14}{'processes gone after':>22}{'faults':>8}")
    for name, tally in tallies.items():
        gone = f"{tally.slowest_end:.2f} s"
        print(f"{name:<12}{tally.kills:>7}{tally.finished:>14}{gone:>22}{len(tally.faults):>8}")
    result = {
        "programs": {name: asdict(tally) for name, tally in tallies.items()},
        "settings": asdict(config),
        "command": command_line(),
        "machine": describe_machine(),
        "versions": installed_versions(),
    }
    write_json(Path(config.output) / "result.json", result)
    print(f"result: {config.output}")
    found = [f"{name}: {fault}" for name, tally in tallies.items() for fault in tally.faults]
    if found:
        raise WorldModelError(f"{len(found)} faults; {found[0]}")


if __name__ == "__main__":
    run_program(main, KillConfig)
