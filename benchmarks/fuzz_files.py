"""Damage what wm_gym reads, ten thousand times: each folder is refused with one error, or read correctly.

python benchmarks/fuzz_files.py mutations=10000 output=outputs/fuzz

A tiny dataset, model, agent, report or unfinished recording is damaged in one to three places: truncated, bits flipped,
headers that promise too much, keys given twice, NaN, hostile names and classes. In half of them the manifest is written
anew, so that the hashes are right and what lies behind them must hold. A process with bounded memory loads, uses and
verifies the folder; what it says, how long it takes and how much memory it needs is counted.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from wm_gym.config import REQUIRED, run_program
from wm_gym.data.episodes import open_dataset
from wm_gym.envs import WorldModelVectorEnv
from wm_gym.errors import ConfigError, WorldModelError
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.files import write_json
from wm_gym.policies.policy import Policy, load_policy
from wm_gym.testing import inputs, mutations
from wm_gym.verify import verify_folder

HANG_SECONDS, STUCK_SECONDS = 10.0, 300.0
"""Processor and wall time after which a reader is killed: a machine that others use is no fault of a file."""
GOOD = ("refused", "read")
"""What may become of a damaged folder; anything else is a fault of wm_gym."""


@dataclass
class FuzzConfig:
    """Settings of one run."""

    output: str = field(default=REQUIRED, metadata={"help": "folder for result.json, and for what is found faulty"})
    mutations: int = field(default=10_000, metadata={"help": "folders to damage"})
    first: int = field(default=0, metadata={"help": "number of the first: each depends on the seed and its number"})
    seed: int = field(default=0, metadata={"help": "of the mutations"})
    workers: int = field(default=1, metadata={"help": "processes that read"})
    seconds: float = field(default=1.0, metadata={"help": "processor time that one reading may take"})
    megabytes: int = field(default=1024, metadata={"help": "memory that a reading may need beyond the process's own"})


@dataclass(frozen=True)
class Outcome:
    """What became of one damaged folder."""

    number: int
    kind: str
    damage: tuple[str, ...]
    result: str
    said: str
    seconds: float
    """Of processor time, the longer of loading and verifying."""
    megabytes: float
    """Most memory beyond what the process had before."""


def main(config: FuzzConfig) -> None:
    """Damage what wm_gym reads, and see that each folder is refused with one error or read correctly."""
    for name in ("mutations", "workers"):
        if getattr(config, name) < 1:
            raise ConfigError(f"{name}={getattr(config, name)}: a positive number is needed")
    work = Path(config.output) / "work"
    shutil.rmtree(work, ignore_errors=True)
    for kind in KINDS.values():
        kind.write(work / "whole" / kind.name)
    print(f"{config.mutations} folders are damaged and read; about a tenth of a second each", flush=True)
    readers = [Reader(config, work, index) for index in range(config.workers)]
    numbers = iter(range(config.first, config.first + config.mutations))
    outcomes: list[Outcome] = []
    with tqdm(total=config.mutations, unit="folder") as bar:
        while [reader for reader in readers if reader.busy or reader.give(next(numbers, None))]:
            for reader in readers:
                if (outcome := reader.take()) is not None:
                    outcomes.append(outcome)
                    bar.update()
    for reader in readers:
        reader.end()
    shutil.rmtree(work)
    conclude(config, outcomes)


def conclude(config: FuzzConfig, outcomes: list[Outcome]) -> None:
    """Print the table, leave result.json, and end with an error where a fault was found."""
    faults = [outcome for outcome in outcomes if outcome.result not in GOOD]
    counts = {name: Counter(o.result for o in outcomes if o.kind == name) for name in KINDS}
    damage = Counter(done.partition(": ")[2] for outcome in outcomes for done in outcome.damage)
    print(f"\n{'kind':<12}{'damaged':>9}{'refused':>9}{'read':>7}{'faults':>8}")
    for name, count in counts.items():
        bad = sum(count.values()) - count["refused"] - count["read"]
        print(f"{name:<12}{sum(count.values()):>9}{count['refused']:>9}{count['read']:>7}{bad:>8}")
    result = {
        "mutations": len(outcomes),
        "outcomes": {name: dict(sorted(count.items())) for name, count in counts.items()},
        "damage": dict(sorted(damage.items())),
        "most_cpu_seconds": round(max(outcome.seconds for outcome in outcomes), 3),
        "most_megabytes": round(max(outcome.megabytes for outcome in outcomes), 1),
        "faults": [asdict(outcome) for outcome in faults[:100]],
        "settings": asdict(config),
        "command": command_line(),
        "machine": describe_machine(),
        "versions": installed_versions(),
    }
    write_json(Path(config.output) / "result.json", result)
    print(f"at most {result['most_cpu_seconds']} s and {result['most_megabytes']} MB each\nresult: {config.output}")
    if faults:
        worst = faults[0]
        raise WorldModelError(
            f"{len(faults)} faults; folder {worst.number} ({worst.kind}): {worst.result}: {worst.said}"
        )


class Reader:
    """A process that damages and reads folders one by one; it is started anew where one kills it."""

    def __init__(self, config: FuzzConfig, work: Path, index: int) -> None:
        self._arguments = (config, work, index)
        self._number: int | None = None
        self._start()

    @property
    def busy(self) -> bool:
        """Whether a folder is being read."""
        return self._number is not None

    def give(self, number: int | None) -> bool:
        """Hand over the next folder's number; False where there is none."""
        self._number, self._since, self._used = number, time.monotonic(), processor_seconds(self._process.pid)
        if number is not None:
            self._connection.send(number)
        return number is not None

    def take(self) -> Outcome | None:
        """What became of the folder, once it is known."""
        if self._number is None:
            return None
        number, said = self._number, ""
        try:
            if self._connection.poll(0.02):
                self._number = None
                return Outcome(**self._connection.recv())
            used, passed = processor_seconds(self._process.pid) - self._used, time.monotonic() - self._since
            if used < HANG_SECONDS and passed < STUCK_SECONDS:
                return None
            self._process.kill()
            result = "hang"
        except (EOFError, ConnectionError):
            result = "died"
        self._process.join()
        self._number, said = None, f"exit {self._process.exitcode}; first={number} mutations=1 repeats it"
        self._start()
        return Outcome(number, kind_of(number), (), result, said, HANG_SECONDS, 0.0)

    def end(self) -> None:
        """Let the process go."""
        self._connection.close()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, *self._arguments), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()  # it has read everything once and is ready


# What follows runs in the reading process.


def serve(connection: Connection, config: FuzzConfig, work: Path, index: int) -> None:
    """Damage and read the folders that are asked for, with bounded memory, until nothing is asked any more."""
    torch.set_num_threads(1)
    folder = work / f"reader-{index}" / "case"
    for kind in KINDS.values():  # once without damage: what is loaded and set aside once is no file's fault
        renew(work / "whole" / kind.name, folder)
        kind.use(folder)
        assert verify(kind, folder) is None
    limit = memory("VmSize") + config.megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    connection.send("ready")
    while True:
        try:
            number = connection.recv()
        except EOFError:
            return
        connection.send(asdict(examine(config, work, folder, number)))


def examine(config: FuzzConfig, work: Path, folder: Path, number: int) -> Outcome:
    """Damage one folder, load and use it, verify it, and judge what happened."""
    kind, generator = KINDS[kind_of(number)], np.random.default_rng([config.seed, number])
    renew(work / "whole" / kind.name, folder)
    before = kind.hashed(folder)
    damage = mutations.mutate(folder, generator)
    lies = kind.hashed(folder) != before
    if generator.random() < 0.5:
        mutations.reseal(folder)
        damage, lies = [*damage, "manifest: written anew"], False
    damaged = folder.with_name("damaged")  # using an unfinished recording changes it
    renew(folder, damaged)
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory counts from here
    resident = memory("VmRSS")
    used, said, load_seconds = attempt(lambda: kind.use(folder))
    checked, found, verify_seconds = attempt(lambda: refuse(verify(kind, folder)))
    megabytes, seconds = (memory("VmHWM") - resident) / 2**20, max(load_seconds, verify_seconds)
    result = used
    if checked not in GOOD:
        result, said = checked, f"verify: {found}"
    elif used == "read" and checked == "refused":
        result, said = "refused", found
    elif checked == "read" and (used == "refused" or lies) and kind.verified:
        result, said = "missed", f"verify finds nothing wrong; loading says: {said or 'nothing either'}"
    if result in GOOD and seconds > config.seconds:
        result = "slow"
    elif result in GOOD and megabytes > config.megabytes:
        result = "memory"
    if result not in GOOD:
        renew(damaged, Path(config.output) / "faults" / str(number))
    return Outcome(number, kind.name, tuple(damage), result, said[:300], round(seconds, 4), round(megabytes, 1))


def attempt(action: Callable[[], None]) -> tuple[str, str, float]:
    """How an action ends, what it says, and the seconds of processor time that it takes."""
    started = time.process_time()
    result, said = "read", ""
    try:
        action()
    except WorldModelError as error:
        result, said = "refused", str(error)
        short = isinstance(error.__cause__, MemoryError) and type(error.__cause__).__module__ != "av.error"
        if short or "you tried to allocate" in said:  # FFmpeg says so of what it refuses, whatever memory there is
            result = "memory"
        elif len(said.splitlines()) != 1:
            result = "untidy"
    except MemoryError as error:
        result, said = "memory", repr(error)
    except Exception as error:  # whatever it is, it should have been a WorldModelError
        result, said = "crash", repr(error)
    return result, said, time.process_time() - started


def refuse(fault: str | None) -> None:
    """Raise a fault of :func:`verify` as loading raises one."""
    if fault is not None:
        raise WorldModelError(fault)


def verify(kind: Kind, folder: Path) -> str | None:
    """The first of all faults that ``python -m wm_gym.verify`` finds."""
    faults = [fault for check in verify_folder(folder) for fault in check.faults] if kind.verified else []
    return faults[0] if faults else None


def renew(source: Path, folder: Path) -> None:
    """A copy of a folder in the place of another."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)


def memory(entry: str) -> int:
    """Bytes, of an entry of this process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{entry}:"))


def processor_seconds(pid: int | None) -> float:
    """Processor time that a process has taken; of one that is gone, none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# The kinds of folders, and what using one means.


@dataclass(frozen=True)
class Kind:
    """A kind of folder."""

    name: str
    write: Callable[[Path], Any]
    use: Callable[[Path], None]
    names: tuple[str, ...] = ()
    """Patterns of the files whose sha256 is kept."""
    verified: bool = True

    def hashed(self, folder: Path) -> Mapping[str, bytes]:
        """Content of the files whose sha256 is kept."""
        files = {path for name in self.names for path in folder.glob(name) if path.is_file()}
        kept = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}
        return {name: content for name, content in kept.items() if not name.endswith("MANIFEST.json")}


def use_dataset(folder: Path) -> None:
    """Open a dataset and look at every number and frame."""
    dataset = open_dataset(folder)
    for index in range(len(dataset)):
        episode = dataset.episode(index, [camera.name for camera in dataset.task.cameras])
        sound(episode.observations, episode.actions, episode.rewards)
        assert episode.observations.shape == (len(episode) + 1, dataset.task.observation_space.size)
        assert all(len(frames) == len(episode) + 1 for frames in episode.frames.values())


def use_model(folder: Path) -> None:
    """Imagine past the end of an episode."""
    env = WorldModelVectorEnv(4, str(folder))
    observation, _ = env.reset(seed=0)
    for _ in range(8):
        sound(observation)
        observation, reward, *_, info = env.step(np.ones(env.action_space.shape, np.float32))
        sound(observation, reward, info["uncertainty"])
    env.close()


def use_agent(folder: Path) -> None:
    """Act on a few observations."""
    policy = load_policy(folder)
    assert isinstance(policy, Policy)
    sound(policy.predict(np.ones((4, len(policy.tensors["mean"])), np.float32))[0])


def use_recording(folder: Path) -> None:
    """Go on with a recording and finish it."""
    writer = inputs.open_recording(folder / "data")
    keys = list(writer.staged())
    for key in keys:
        writer.load_staged(key)
    writer.finish(keys)
    use_dataset(folder / "data")


def sound(*values: np.ndarray[Any, Any]) -> None:
    """Nothing that is read or imagined may be anything but a number."""
    assert all(np.isfinite(value).all() for value in values), "a value is not finite"


def kind_of(number: int) -> str:
    """The kinds take turns."""
    return list(KINDS)[number % len(KINDS)]


KINDS = {
    kind.name: kind
    for kind in (
        Kind("dataset", inputs.write_dataset, use_dataset, ("data/**/*", "meta/**/*", "videos/**/*")),
        Kind("model", inputs.make_model().save, use_model, ("model.safetensors", "config.json")),
        Kind("camera", inputs.make_camera_model().save, use_model, ("model.safetensors", "config.json")),
        Kind("agent", inputs.write_agent, use_agent, ("policy/policy.safetensors",)),
        Kind("report", inputs.write_report, lambda folder: None, ("report.*", "trajectories.parquet", "result.json")),
        Kind("recording", lambda f: inputs.write_dataset(f / "data", finish=False), use_recording, verified=False),
    )
}

if __name__ == "__main__":
    run_program(main, FuzzConfig)
