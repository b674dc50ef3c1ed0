"""Time a step of mbrl-lib's ModelEnv at its own network size: the rival of measure_throughput.py, which calls this.

It runs in the environment that the top of benchmarks/fit_mbrl.py installs. Weights are random: they cost what trained
ones cost. Each row passes one of the 5 best networks of 7, as mbrl-lib's configurations for PETS and MBPO have it, and
nothing is said about uncertainty.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from wm_gym.config import REQUIRED, run_program
from wm_gym.errors import ConfigError
from wm_gym.files import write_json

try:
    import mbrl
    from mbrl.models import GaussianMLP, ModelEnv, OneDTransitionRewardModel
except ModuleNotFoundError as missing:
    sys.exit(f"error: {missing.name} is not installed here; the top of benchmarks/fit_mbrl.py says how to install it")

MEMBERS, LAYERS, WIDTH, ELITES = 7, 4, 200, 5


@dataclass
class Settings:
    """Settings of one timing."""

    output: str = field(default=REQUIRED, metadata={"help": "folder for result.json"})
    observations: int = field(default=11, metadata={"help": "numbers in an observation"})
    actions: int = field(default=3, metadata={"help": "numbers in an action"})
    rows: int = field(default=1025, metadata={"help": "a multiple of 5, the networks that rows are dealt to"})
    blocks: int = field(default=7, metadata={"help": "timed one after another"})
    seconds: float = field(default=1.0, metadata={"help": "of a block, at least"})
    threads: int = field(default=1, metadata={"help": "of torch"})


def main(settings: Settings) -> None:
    """Time a step of mbrl-lib's ModelEnv at its own network size."""
    if settings.rows < 1 or settings.rows % ELITES:
        raise ConfigError(f"rows={settings.rows}: mbrl-lib deals rows to {ELITES} networks, a multiple is needed")
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    rates = time_steps(settings)
    figure = {
        "name": f"mbrl {mbrl.__version__} ModelEnv",
        "rows": settings.rows,
        "median": statistics.median(rates),
        "low": min(rates),
        "high": max(rates),
        "blocks": len(rates),
    }
    write_json(Path(settings.output) / "result.json", figure)
    print(f"{figure['name']}: {figure['median']:,.0f} row steps a second")
    print(f"timing: {settings.output}")


def time_steps(settings: Settings) -> list[float]:
    """Row steps a second of each block; one at the start does not count."""
    size, actions = settings.observations, settings.actions
    ensemble = GaussianMLP(size + actions, size + 1, "cpu", LAYERS, MEMBERS, WIDTH, propagation_method="random_model")
    for layer in ensemble.hidden_layers:  # ReLU by default; mbrl-lib's configurations say SiLU, by a class's name
        layer[1] = torch.nn.SiLU()
    dynamics = OneDTransitionRewardModel(ensemble, target_is_delta=True, normalize=True, num_elites=ELITES)
    ensemble.set_elite(list(range(ELITES)))
    spaces = SimpleNamespace(observation_space=None, action_space=None)
    env = ModelEnv(spaces, dynamics, lambda action, following: torch.zeros(len(following), 1, dtype=torch.bool))
    rng = np.random.default_rng(0)
    start = rng.normal(size=(settings.rows, size)).astype(np.float32)
    chosen = rng.uniform(-1, 1, (settings.rows, actions)).astype(np.float32)
    rates = []
    for _ in range(settings.blocks + 1):
        state, count, begun = env.reset(start), 0, time.perf_counter()
        while (elapsed := time.perf_counter() - begun) < settings.seconds or not count:
            *_, state = env.step(chosen, state, sample=True)
            count += 1
        rates.append(count * settings.rows / elapsed)
    return rates[1:]


if __name__ == "__main__":
    run_program(main, Settings)
