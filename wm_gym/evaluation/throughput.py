"""Steps a second of imagined and of physical worlds on the same cores: what is timed, and how.

A *runner* advances a number of rows by one step. Runners that are to be compared are timed in turn, block after block,
so that a machine that slows down slows all of them; a figure is the median over the blocks, beside their range.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from wm_gym.envs.sb3 import WorldModelVecEnv
from wm_gym.models import TrainedModel
from wm_gym.models.state_ensemble import StateEnsemble, StateEnsembleConfig

Plain = dict[str, Any]
Progress = Callable[[str], None]


@dataclass
class Runner:
    """A world that can be stepped, ready to be timed."""

    name: str
    rows: int
    advance: Callable[[], object]
    """Takes ``steps`` steps in every row, resets included."""
    close: Callable[[], object] = lambda: None
    steps: int = 1
    rates: list[float] = field(default_factory=list)
    """Row steps a second of each block."""

    def figure(self) -> Plain:
        """Median and range over the blocks."""
        return {
            "name": self.name,
            "rows": self.rows,
            "median": statistics.median(self.rates),
            "low": min(self.rates),
            "high": max(self.rates),
            "blocks": len(self.rates),
        }


def time_in_turn(makers: Iterable[Callable[[], Runner]], blocks: int, seconds: float, tell: Progress) -> list[Plain]:
    """Time the runners block by block in turn, each block for ``seconds`` at least, after one that does not count."""
    runners: list[Runner] = []
    try:
        for make in makers:
            runners.append(make())
            _block(runners[-1], seconds / 4)
        for _ in range(blocks):
            for runner in runners:
                runner.rates.append(_block(runner, seconds))
                tell(f"{runner.name}, {runner.rows} rows")
        return [runner.figure() for runner in runners]
    finally:
        for runner in runners:
            runner.close()


def _block(runner: Runner, seconds: float) -> float:
    count, begun = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < seconds or not count:
        runner.advance()
        count += 1
    return count * runner.rows * runner.steps / elapsed


def gym_runner(trained: TrainedModel, device: str = "cpu", **settings: Any) -> Runner:
    """``gym.make("WorldModel-v0")`` under one action."""
    env = gym.make("WorldModel-v0", model=trained, device=device, **settings)
    env.action_space.seed(0)
    env.reset(seed=0)
    action = env.action_space.sample()

    def advance() -> None:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()

    return Runner("gym.make", 1, advance, env.close)


def vector_runner(trained: TrainedModel, rows: int, name: str = "gym.make_vec", **settings: Any) -> Runner:
    """``gym.make_vec("WorldModel-v0")`` under actions of its own for each row."""
    envs = gym.make_vec("WorldModel-v0", num_envs=rows, model=trained, **settings)
    envs.action_space.seed(0)
    envs.reset(seed=0)
    actions = envs.action_space.sample()
    return Runner(name, rows, lambda: envs.step(actions), envs.close)


def sb3_runner(trained: TrainedModel, rows: int, device: str = "cpu") -> Runner:
    """``WorldModelVecEnv`` under actions of its own for each row."""
    envs = WorldModelVecEnv(trained, rows, seed=0, device=device)
    envs.reset()
    envs.action_space.seed(0)
    actions = np.stack([envs.action_space.sample() for _ in range(rows)])
    return Runner("stable-baselines3", rows, lambda: envs.step(actions), envs.close)


def matrix_runner(size: int = 1024, device: str = "cpu") -> Runner:
    """A float32 matrix product of two squares: its "row steps" are floating-point operations."""
    left, right = torch.rand(2, size, size, device=device)
    out = torch.empty(size, size, device=device)
    return Runner("matrix product", 1, lambda: torch.mm(left, right, out=out), steps=2 * size**3)


def operations(model: StateEnsemble, sampled: bool = True) -> int:
    """Floating-point operations in the products of one row's step: every member's dynamics, the shown one's judgement.

    The mean of all members asks all of them to judge.
    """
    dynamics = sum(weight.numel() for weight in model.dynamics.weights)
    dynamics += model.shape.members * model.linear[:-1].numel()
    judged = sum(weight.numel() for weight in model.judge.weights)
    return int(2 * (dynamics + (judged // model.shape.members if sampled else judged)))


def resized(trained: TrainedModel, size: StateEnsembleConfig) -> TrainedModel:
    """Networks of another size with random weights, under the same scales: as fast as trained ones, and as stable.

    What they change in a step is made small, so that rows live about as long as in a trained model.
    """
    torch.manual_seed(0)
    world = StateEnsemble(trained.task, size)
    world.normalizer.load_state_dict(trained.model.normalizer.state_dict())
    world.temperature.fill_(0.5)
    with torch.no_grad():
        world.judge.biases[-1][..., 1] = -8.0
    return replace(trained, model=world.eval().requires_grad_(False), folder=None)


def measure_latency(runner: Runner, steps: int) -> Plain:
    """Milliseconds of single calls, the resets among them: p50, p99 and the mean."""
    for _ in range(min(steps, 100)):
        runner.advance()
    taken = np.empty(steps)
    for index in range(steps):
        begun = time.perf_counter()
        runner.advance()
        taken[index] = time.perf_counter() - begun
    milliseconds = 1e3 * taken
    p50, p99 = np.percentile(milliseconds, (50, 99))
    return {"p50_ms": p50, "p99_ms": p99, "mean_ms": milliseconds.mean(), "calls": steps}


def measure_growth(runner: Runner, steps: int) -> Plain:
    """Megabytes that the process grows by over so many row steps, after a tenth of them to settle."""
    for _ in range(steps // runner.rows // 10 + 1):
        runner.advance()
    before = resident_megabytes()
    for _ in range(-(-steps // runner.rows)):
        runner.advance()
    return {"steps": steps, "growth_mb": resident_megabytes() - before, "resident_mb": resident_megabytes()}


def measure_age(trained: TrainedModel, rows: int, ages: Sequence[int], calls: int) -> list[Plain]:
    """Row steps a second at so many steps since reset: a step late in a rollout costs what the first one does."""

    def never(observation: Any, action: Any, following: Any) -> Any:
        return np.zeros(len(following), np.bool_)

    runner = vector_runner(trained, rows, horizon=max(ages) + calls + 1, termination_fn=never)
    age, found = 0, []
    for wanted in ages:
        while age < wanted - 1:
            runner.advance()
            age += 1
        begun = time.perf_counter()
        for _ in range(calls):
            runner.advance()
        found.append({"age": wanted, "rate": calls * rows / (time.perf_counter() - begun)})
        age += calls
    runner.close()
    return found


def resident_megabytes() -> float:
    """Memory of this process that lies in RAM; the most that it ever was where the system tells no more."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


_IMPORTS = {
    "import gymnasium": "import gymnasium",
    "import wm_gym": "import gymnasium, wm_gym",
    "import torch": "import torch",
    "make, reset and one step": "import gymnasium, wm_gym\n"
    "env = gymnasium.make('WorldModel-v0')\nenv.reset(seed=0)\nenv.step(env.action_space.sample())",
}


def measure_imports(repeats: int) -> Plain:
    """Median seconds of what a fresh process does, its own start left out."""
    found = {}
    for name, code in _IMPORTS.items():
        program = f"import time\nbegun = time.perf_counter()\n{code}\nprint(time.perf_counter() - begun)"
        taken = [
            float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
            for _ in range(repeats)
        ]
        found[name] = statistics.median(taken)
    return found
