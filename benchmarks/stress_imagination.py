"""Try to make imagined worlds show a number that is none, or one that grows without bound.

python benchmarks/stress_imagination.py models=[reacher,hopper] steps=1000000 output=outputs/stress
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from wm_gym.config import REQUIRED, run_program
from wm_gym.errors import ConfigError
from wm_gym.evaluation.charts import shown
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.evaluation.stress import WAYS, Face, Stress
from wm_gym.files import write_json
from wm_gym.models import load_model

SHARES = {"vector": 0.49, "sb3": 0.49, "single": 0.02}
"""Of each way's steps: one environment alone is slow, and shares its code with the others."""


@dataclass
class Settings:
    """Settings of one run."""

    models: list[str] = field(default=REQUIRED, metadata={"help": "shipped models' names or model folders"})
    output: str = field(default=REQUIRED, metadata={"help": "folder for result.json"})
    steps: int = field(default=1_000_000, metadata={"help": "of each model, over all ways and faces"})
    rows: int = field(default=500, metadata={"help": "environments side by side"})
    samples: int = field(default=64, metadata={"help": "candidates of each iteration of the adversarial search"})
    seed: int = field(default=0, metadata={"help": "of everything that is tried"})


def main(settings: Settings) -> None:
    """Act at random, at the motors' ends, adversarially and absurdly in imagined worlds, and look at every output."""
    if not settings.models or settings.steps < 1 or settings.rows < 2 or settings.samples < 4:
        raise ConfigError("name at least one model; steps=1, rows=2 and samples=4 at least")
    results = []
    for name in settings.models:
        trained = load_model(name)
        if trained.model.cameras:
            raise ConfigError(f"model={name} shows frames: states are what is stressed here")
        stress = Stress(trained, settings.seed, settings.samples)
        digest = trained.manifest["files"]["model.safetensors"]
        with tqdm(total=settings.steps, desc=name, unit="step") as bar:
            for way in WAYS:
                for face, share in SHARES.items():
                    steps, before = max(1, round(settings.steps * share / len(WAYS))), resident_megabytes()
                    tally = stress.run(way, Face(face, trained, settings.rows), steps, bar.update)
                    grown = resident_megabytes() - before
                    row = {
                        "model": name,
                        "sha256": digest,
                        "way": way,
                        "face": face,
                        "megabytes_grown": round(grown, 1),
                    }
                    results.append(row | asdict(tally))
    write_json(
        Path(settings.output) / "result.json",
        {
            "command": command_line(),
            "machine": describe_machine(),
            "versions": installed_versions(),
            "seed": settings.seed,
            "rows": settings.rows,
            "results": results,
        },
    )
    show(results)
    print(f"stress: {settings.output}")
    if any(row["not_finite"] or row["unbounded"] or row["faults"] for row in results):
        sys.exit(1)


def resident_megabytes() -> float:
    """Memory that this process holds."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def show(results: Sequence[Mapping[str, Any]]) -> None:
    """One line for each model and way, and every fault."""
    heads = ("steps", "not finite", "unbounded", "bound ended", "refused", "faults", "MB grown")
    print(f"\n{'model':<28}{'way':<13}" + "".join(f"{head:>13}" for head in heads))
    for name in dict.fromkeys(row["model"] for row in results):
        for way in WAYS:
            rows = [row for row in results if (row["model"], row["way"]) == (name, way)]
            counts = [
                *(sum(row[key] for row in rows) for key in ("steps", "not_finite", "unbounded", "ended_by_bound")),
                sum(row["refused"] for row in rows),
                sum(len(row["faults"]) for row in rows),
            ]
            grown = shown(max(row["megabytes_grown"] for row in rows))
            print(f"{Path(name).name:<28}{way:<13}" + "".join(f"{count:>13,}" for count in counts) + f"{grown:>13}")
    for row in results:
        for fault in dict.fromkeys(row["faults"]):
            print(f"fault: {row['model']}, {row['way']}: {fault}")
    print()


if __name__ == "__main__":
    run_program(main, Settings)
