"""Act in MuJoCo on plans that are made anew at every step, in a world model or in MuJoCo itself.

python agents/plan_actions.py model=reacher output=outputs/reacher/plan
python agents/plan_actions.py world=physics task=reacher output=outputs/reacher/plan_physics
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from wm_gym.config import REQUIRED, run_program
from wm_gym.errors import ConfigError
from wm_gym.evaluation.charts import shown
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.evaluation.planning import plan_episodes, succeeded
from wm_gym.evaluation.returns import FIRST_SEED
from wm_gym.evaluation.rollouts import episode_returns
from wm_gym.evaluation.statistics import mean_interval
from wm_gym.evaluation.worlds import LearnedWorld, PhysicsWorld, World
from wm_gym.files import write_json
from wm_gym.models import load_model
from wm_gym.physics.tasks import task_spec
from wm_gym.policies.planner import PlannerConfig
from wm_gym.types import TaskSpec


@dataclass
class Settings:
    """Settings of one trial."""

    output: str = field(default=REQUIRED, metadata={"help": "folder for result.json"})
    world: str = field(default="imagination", metadata={"help": "where plans are made: imagination or physics"})
    model: str | None = field(default=None, metadata={"help": "model folder, or a shipped model; for imagination"})
    task: str | None = field(default=None, metadata={"help": "a robot of wm_gym.physics.tasks; for physics"})
    episodes: int = field(default=10, metadata={"help": f"in MuJoCo, seeds from {FIRST_SEED}"})
    steps: int | None = field(default=None, metadata={"help": "of an episode; None for the task's own limit"})
    seed: int = field(default=0, metadata={"help": "of the candidates"})
    planner: PlannerConfig = field(default_factory=PlannerConfig)


def main(settings: Settings) -> None:
    """Act in MuJoCo on plans that are made anew at every step."""
    started = time.perf_counter()
    settings.planner.check()
    if settings.episodes < 2:
        raise ConfigError(f"episodes={settings.episodes}: at least 2 are needed for an interval")
    task, world = planning_world(settings)
    physics = PhysicsWorld(task)
    steps = min(settings.steps or task.max_episode_steps, task.max_episode_steps)
    print(f"{task.name}: {settings.episodes} episodes of {steps} steps in MuJoCo, planned in the {world.name}")
    starts = physics.resets(range(FIRST_SEED, FIRST_SEED + settings.episodes))
    generator = np.random.default_rng(settings.seed)
    episodes = plan_episodes(world, physics, starts, steps, settings.planner, generator, track)
    returns = episode_returns(episodes)
    outcomes = [succeeded(task, episode) for episode in episodes]
    result: dict[str, Any] = {
        "settings": asdict(settings),
        "task": task.name,
        "steps": steps,
        "return": mean_interval(returns, generator).to_dict(),
        "returns": returns.tolist(),
        "success": None if None in outcomes else mean_interval(np.array(outcomes, float), generator).to_dict(),
        "wall_seconds": round(time.perf_counter() - started, 1),
        "command": command_line(),
        "machine": describe_machine(),
        "versions": installed_versions(),
    }
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "result.json", result)
    show(result)
    print(f"plan: {output}")


def planning_world(settings: Settings) -> tuple[TaskSpec, World]:
    """The task, and where its plans are made.

    Raises:
        ConfigError: the world does not exist, or what it needs was not given.
        ModelError: there is no such model.
    """
    if settings.world == "imagination":
        if settings.model is None:
            raise ConfigError("model=... must be given where plans are made in imagination")
        trained = load_model(settings.model)
        return trained.task, LearnedWorld(trained)
    if settings.world != "physics":
        raise ConfigError(f"world={settings.world!r}: one of imagination, physics")
    if settings.task is None:
        raise ConfigError("task=... must be given where plans are made in the physics")
    task = replace(task_spec(settings.task), cameras=())
    return task, PhysicsWorld(task)


def track(rows: Sequence[int]) -> Iterable[int]:
    """Show progress through the steps."""
    bar: Iterable[int] = tqdm(rows, desc="plan", unit="step")
    return bar


def show(result: dict[str, Any]) -> None:
    """The outcome as a small table."""
    print(f"\n{'':<10}{'mean':>10}   95 % interval")
    for name in ("return", "success"):
        if result[name] is not None:
            figures = result[name]
            print(f"{name:<10}{shown(figures['value']):>10}   {shown(figures['low'])} to {shown(figures['high'])}")
    print()


if __name__ == "__main__":
    run_program(main, Settings)
