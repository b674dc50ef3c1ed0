"""Steps a second in imagination and in MuJoCo, on the same cores in one run: where imagining is faster, and where not.

python benchmarks/measure_throughput.py model=hopper mbrl=outputs/mbrl_env/bin/python output=outputs/hopper/throughput

Give it a machine that does nothing else. What is not there says NOT MEASURED: mbrl-lib, which lives in an environment
of its own (the top of benchmarks/fit_mbrl.py says how to install it; mbrl= names the Python in it); EnvPool, unless
"pip install envpool" was run and it has the very robot; a camera model, unless camera= names its folder. A model fitted
for a minute will do: speed does not ask whether it is any good.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from wm_gym.config import REQUIRED, run_program
from wm_gym.errors import ConfigError
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.evaluation.report import plain
from wm_gym.evaluation.throughput_benchmark import MBRL_MODES, NOT_MEASURED, QUICK, Amounts, measure_throughput
from wm_gym.evaluation.throughput_camera import check_camera, measure_camera
from wm_gym.evaluation.throughput_chart import write_throughput_chart
from wm_gym.files import write_json
from wm_gym.models import TrainedModel, load_model

CAMERA_ROWS = 256
RIVAL = Path(__file__).resolve().parent / "time_mbrl.py"


@dataclass
class Settings:
    """Settings of one robot's benchmark."""

    model: str = field(default=REQUIRED, metadata={"help": "a shipped model's name or a model folder"})
    output: str = field(default=REQUIRED, metadata={"help": "folder for result.json and throughput.svg"})
    quick: bool = field(default=False, metadata={"help": "a little of everything; no figure to publish"})
    threads: int = field(default=0, metadata={"help": "of torch and of MuJoCo; 0 for one on each core"})
    camera: str = field(default="", metadata={"help": "a camera model's folder, trained or not; empty leaves it out"})
    mbrl: str = field(default="", metadata={"help": "Python of an environment with mbrl-lib; empty leaves it out"})


def main(settings: Settings) -> None:
    """Time imagination and MuJoCo on the same cores, in one run."""
    if settings.threads < 0:
        raise ConfigError(f"threads={settings.threads}: zero or more")
    if settings.mbrl and not Path(settings.mbrl).is_file():
        raise ConfigError(f"mbrl={settings.mbrl}: no such Python; the top of benchmarks/fit_mbrl.py installs one")
    trained, folder = load_model(settings.model), Path(settings.output)
    seeing = load_model(settings.camera) if settings.camera else None
    if seeing:
        check_camera(seeing)
    threads = settings.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    amounts = QUICK if settings.quick else Amounts()
    rival = time_mbrl(settings, trained, amounts, threads, folder)
    with tqdm(desc=trained.task.name, unit="timings") as bar:

        def tell(name: str) -> None:
            bar.set_postfix_str(name, refresh=False)
            bar.update()

        values = measure_throughput(trained, amounts, threads, tell)
        values["camera"] = NOT_MEASURED
        if seeing:
            rows = min(amounts.most, CAMERA_ROWS)
            values["camera"] = measure_camera(seeing, rows, amounts.blocks, amounts.seconds, tell)
    values["mbrl"] = rival
    if values["mbrl"] != NOT_MEASURED:
        for name, figure in zip(MBRL_MODES, values["compared"][2:], strict=True):
            values["ratios"][f"mbrl-lib's ModelEnv, {name}"] = figure["median"] / values["mbrl"]["median"]
    write_throughput_chart(folder / "throughput.svg", values, trained.task.name)
    write_json(folder / "result.json", describe(settings, trained, amounts) | plain(values))
    show(values)
    print(f"benchmark: {folder}")


def time_mbrl(settings: Settings, trained: TrainedModel, amounts: Amounts, threads: int, folder: Path) -> Any:
    """mbrl-lib's figure on the same cores, or NOT MEASURED."""
    if not settings.mbrl:
        return NOT_MEASURED
    task = trained.task
    command = [settings.mbrl, str(RIVAL), f"output={folder / 'mbrl'}", f"threads={threads}"]
    command += [f"observations={task.observation_space.size}", f"actions={task.action_space.size}"]
    command += [f"rows={-(-amounts.most // 5) * 5}", f"blocks={amounts.blocks}", f"seconds={amounts.seconds}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"mbrl={settings.mbrl}: {(done.stderr.strip().splitlines() or ['it failed'])[-1]}")
    return json.loads((folder / "mbrl" / "result.json").read_text(encoding="utf-8"))


def describe(settings: Settings, trained: TrainedModel, amounts: Amounts) -> dict[str, Any]:
    """What was timed, with what, and how to do it again."""
    return {
        "task": trained.task.name,
        "command": command_line(),
        "quick": settings.quick,
        "machine": describe_machine(),
        "versions": installed_versions(),
        "model": {"name": settings.model, "sha256": trained.manifest.get("files", {}).get("model.safetensors")},
        "amounts": asdict(amounts),
    }


def show(values: Mapping[str, Any]) -> None:
    """Steps a second of everything, then the ratios, in which a figure below one is MuJoCo's win."""
    print(f"\n{'world':<40}{'rows':>6}{'steps a second':>18}{'range':>24}")
    figures = [*values["batches"], *values["physics"], values["compared"][0], *values["compared"][2:]]
    for figure in [*figures, *([] if values["mbrl"] == NOT_MEASURED else [values["mbrl"]])]:
        spread = f"{figure['low']:,.0f} to {figure['high']:,.0f}"
        print(f"{figure['name']:<40}{figure['rows']:>6}{figure['median']:>18,.0f}{spread:>24}")
    for name in ("mbrl", "envpool", "camera", "cuda"):
        if values[name] == NOT_MEASURED:
            print(f"{name:<40}{NOT_MEASURED:>24}")
    if values["camera"] != NOT_MEASURED:
        for figure in values["camera"]["figures"]:
            print(f"camera, {figure['name']:<32}{figure['rows']:>6}{figure['median']:>18,.0f}")
        for name, ratio in values["camera"]["ratios"].items():
            print(f"{ratio:8.2f} x MuJoCo and its camera, {name}" + ("   (MuJoCo wins)" if ratio < 1 else ""))
    for figure in values["learning"]:
        sizes = f"PPO, {figure['world']}, {figure['n_steps']} x, batch {figure['batch_size']}"
        print(f"{sizes:<58}{figure['num_envs']:>6}{figure['rate']:>18,.0f}")
    print()
    for name, ratio in values["ratios"].items():
        print(f"{ratio:8.2f} x {name}" + ("   (MuJoCo wins)" if ratio < 1 and "mbrl" not in name else ""))
    latency, memory, matrix = values["latency"], values["memory"], values["compared"][1]
    print(f"one environment: p50 {latency['p50_ms']:.3f} ms, p99 {latency['p99_ms']:.3f} ms")
    print(f"memory: {memory['growth_mb']:+.1f} MB over {memory['steps']:,} steps")
    print(f"float32 products: {matrix['median'] / 1e9:.0f} GFLOP/s, of which {values['fraction']:.2f} are reached\n")


if __name__ == "__main__":
    run_program(main, Settings)
