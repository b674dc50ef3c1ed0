"""Learn a robot from scratch: real steps, a refitted world model, imagined branches, stable-baselines3's SAC on both.

python agents/train_dyna.py task=reacher steps=5000 seed=0 output=outputs/reacher/dyna_0
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wm_gym.config import REQUIRED, is_complete, run_program
from wm_gym.errors import ConfigError
from wm_gym.evaluation.actors import PolicyActor
from wm_gym.evaluation.charts import write_figure
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.evaluation.learning_chart import draw_progress
from wm_gym.evaluation.returns import FIRST_SEED
from wm_gym.evaluation.rollouts import episode_returns, physical_episodes
from wm_gym.evaluation.statistics import mean_interval
from wm_gym.files import write_json
from wm_gym.physics.tasks import make_physics, task_spec
from wm_gym.policies.dyna import DynaConfig, learn_from_scratch


@dataclass
class Settings:
    """Settings of one robot learnt from scratch."""

    output: str = field(default=REQUIRED, metadata={"help": "agent folder to write"})
    task: str = field(default="reacher", metadata={"help": "robot of wm_gym.physics.tasks"})
    steps: int = field(default=5_000, metadata={"help": "real steps"})
    seed: int = field(default=0, metadata={"help": "of everything"})
    warm_up: int = field(default=1_000, metadata={"help": "real steps of random actions before the first fit"})
    refit_every: int = field(default=1_000, metadata={"help": "real steps between two fits of the world model"})
    first_fit: int = field(default=3_000, metadata={"help": "gradient steps of the first fit"})
    refit: int = field(default=400, metadata={"help": "gradient steps of every later fit"})
    fit_horizon: int = field(default=4, metadata={"help": "imagined steps along which the model is fitted"})
    width: int = field(default=200, metadata={"help": "units of the model's layers"})
    imagined: int = field(default=50_000, metadata={"help": "transitions imagined after every fit"})
    branch: list[int] = field(default_factory=lambda: [1, 1], metadata={"help": "imagined steps: at first, at last"})
    climb: list[int] = field(default_factory=lambda: [0, 1], metadata={"help": "real steps between which it grows"})
    updates_per_step: int = field(default=4, metadata={"help": "SAC's gradient steps for each real step"})
    real_share: float = field(default=0.05, metadata={"help": "of every batch"})
    uncertainty: str = field(default="report", metadata={"help": "report, penalize, truncate or omit"})
    penalty: float = field(default=1.0, metadata={"help": "reward lost per unit of uncertainty under penalize"})
    settings: dict[str, Any] = field(default_factory=dict, metadata={"help": "of SB3's SAC, replacing ours"})
    measure_every: int = field(default=5_000, metadata={"help": "real steps between two trials in both worlds"})
    episodes: int = field(default=20, metadata={"help": f"of the last trial in the physics, seeds from {FIRST_SEED}"})
    threads: int = field(default=1, metadata={"help": "torch threads; 0 leaves torch's own choice"})

    def loop(self) -> DynaConfig:
        """What the library's loop is asked for."""
        own = ("output", "task", "episodes", "threads", "branch", "climb")
        plain: dict[str, Any] = {name: value for name, value in asdict(self).items() if name not in own}
        if len(self.branch) != 2 or len(self.climb) != 2:
            raise ConfigError(f"branch={self.branch}, climb={self.climb}: two numbers each, such as branch=[1,15]")
        return DynaConfig(**plain, branch=(self.branch[0], self.branch[1]), climb=(self.climb[0], self.climb[1]))


def main(settings: Settings) -> None:
    """Learn a robot from scratch in the physics and in imagination together."""
    output, task, loop = Path(settings.output), task_spec(settings.task), settings.loop()
    loop.check()
    identity = {name: value for name, value in asdict(settings).items() if name not in ("output", "threads")}
    work = Path(f"{output}.partial")
    if is_complete(output, {"settings": identity}, work):
        return
    if settings.episodes < 2:
        raise ConfigError(f"episodes={settings.episodes}: at least 2 are needed for an interval")
    if settings.threads > 0:
        torch.set_num_threads(settings.threads)
    fits = max(1, (loop.steps - loop.warm_up) // loop.refit_every)
    print(
        f"learn {task.name} from {loop.steps:,} real steps: {fits} fits of the world model, "
        f"{loop.steps * loop.updates_per_step:,} updates of SAC (one to three hundred a second on one core)",
        flush=True,
    )
    result = learn_from_scratch(loop, task, make_physics, work)
    result.policy.save(output / "policy")
    result.learner.save(output / "sac.zip", exclude=["replay_buffer"])
    actor, env = PolicyActor(result.policy, task.action_space), make_physics(task)
    seeds = range(FIRST_SEED, FIRST_SEED + settings.episodes)
    returns = episode_returns(physical_episodes(env, actor, seeds, task.control_dt, "sac"))
    env.close()
    interval = mean_interval(returns, np.random.default_rng(settings.seed))
    record = {
        "settings": identity,
        "task": task.name,
        "algorithm": "dyna",
        "seed": settings.seed,
        "real_steps": result.learner.num_timesteps,
        "physical": {"value": interval.value, "low": interval.low, "high": interval.high},
        "physical_returns": [round(float(value), 4) for value in returns],
        "curve": result.curve,
        "wall_seconds": round(result.wall_seconds, 1),
        "command": command_line(),
        "machine": describe_machine(),
        "versions": installed_versions(),
    }
    write_figure(output / "learning.svg", draw_progress(result.curve, task.name))
    write_json(output / "result.json", record)
    shutil.rmtree(work)
    show(result.curve, f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]")
    print(f"chart: {output / 'learning.svg'}\nagent: {output}")


def show(curve: list[dict[str, Any]], final: str) -> None:
    """The returns over real steps, then the last trial's."""
    print(f"\n{'real steps':>10}{'MuJoCo':>14}{'imagination':>14}{'excess':>12}")
    for point in curve:
        mean = float(np.mean(point["physical"]))
        print(f"{point['steps']:>10,}{mean:>14.2f}{point['imagined']:>14.2f}{point['gap']:>12.2f}")
    print(f"return in MuJoCo, fresh episodes: {final}")


if __name__ == "__main__":
    run_program(main, Settings)
