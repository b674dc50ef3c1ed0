"""Train an agent with stable-baselines3 in WorldModel-v0, or in MuJoCo as the control, and try it in both worlds.

python agents/train_agent.py model=reacher algorithm=ppo seed=0 output=outputs/reacher/agent
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wm_gym.config import REQUIRED, is_complete, run_program
from wm_gym.data.episodes import open_dataset
from wm_gym.envs import WorldModelVectorEnv
from wm_gym.errors import ConfigError
from wm_gym.evaluation.actors import PolicyActor, RandomActor
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.evaluation.returns import FIRST_SEED, Contender, Returns, compare_returns, play_both_worlds
from wm_gym.evaluation.rollouts import episode_returns, physical_episodes
from wm_gym.evaluation.statistics import Interval, mean_interval
from wm_gym.files import write_json
from wm_gym.models import TrainedModel, load_model
from wm_gym.physics.tasks import make_physics, task_spec
from wm_gym.policies.imitation import best_episodes
from wm_gym.policies.training import LearnConfig, LearnResult, learn
from wm_gym.types import Episode, TaskSpec


@dataclass
class AgentConfig:
    """Settings of one agent."""

    output: str = field(default=REQUIRED, metadata={"help": "agent folder to write"})
    model: str = field(default="reacher", metadata={"help": "a shipped model's name or a model folder"})
    world: str = field(default="imagination", metadata={"help": "imagination, or physics for the control"})
    task: str | None = field(default=None, metadata={"help": "robot for world=physics without a model"})
    algorithm: str = field(default="ppo", metadata={"help": "ppo, sac or, in the physics, a2c"})
    steps: int | None = field(
        default=None, metadata={"help": "environment steps; null: 2,000,000 for ppo, 200,000 for sac"}
    )
    num_envs: int | None = field(
        default=None, metadata={"help": "rollouts side by side; null: 512 for ppo, 64 for sac, 1 in the physics"}
    )
    seed: int = field(default=0, metadata={"help": "of weights, draws and rollouts"})
    episodes: int = field(default=100, metadata={"help": f"of the trial in each world, seeds from {FIRST_SEED}"})
    threads: int = field(default=0, metadata={"help": "torch threads; 0 leaves torch's own choice"})
    start: str = field(default="initial", metadata={"help": "imagination begins at initial or any recorded moments"})
    horizon: int | None = field(default=None, metadata={"help": "imagined steps; null: the task's episode limit"})
    uncertainty: str = field(default="report", metadata={"help": "report, penalize, truncate or omit"})
    penalty: float = field(default=1.0, metadata={"help": "reward lost per unit of uncertainty under penalize"})
    normalize: bool = field(
        default=False, metadata={"help": "scale rewards: by the model's own, in the physics by running statistics"}
    )
    imitate: str | None = field(
        default=None, metadata={"help": "dataset folder: ppo begins as the best of what was recorded there"}
    )
    imitate_share: float = field(default=1 / 3, metadata={"help": "of the recorded steps, those of the best episodes"})
    settings: dict[str, Any] = field(default_factory=dict, metadata={"help": "of the SB3 algorithm, replacing ours"})
    measure_every: int | None = field(
        default=None, metadata={"help": "steps in the physics between two trials there; null: the finished agent alone"}
    )


def main(config: AgentConfig) -> None:
    """Train an agent with stable-baselines3 in WorldModel-v0 or, as the control, in MuJoCo; try it in both."""
    output = Path(config.output)
    trained, task = _world(config)
    work = Path(f"{output}.partial")
    if is_complete(output, {"settings": _settings(config), "model": _model_files(trained)}, work):
        return
    if config.episodes < 2:
        raise ConfigError(f"episodes={config.episodes}: at least 2 are needed for an interval")
    if not 0 < config.imitate_share <= 1:
        raise ConfigError(f"imitate_share={config.imitate_share}: above 0, and at most 1")
    if config.threads > 0:
        torch.set_num_threads(config.threads)
    learn_config = _learn_config(config)
    learn_config.check()
    where = f"imagination ({config.model})" if trained is not None and config.world == "imagination" else "MuJoCo"
    print(
        f"train {config.algorithm.upper()} for {learn_config.steps:,} steps in {where}, "
        f"{learn_config.num_envs} side by side, then try it for {config.episodes} episodes of each world",
        flush=True,
    )
    shown = [] if config.imitate is None else _best_logged(Path(config.imitate), task, config.imitate_share)
    result = learn(learn_config, task, trained, work, make_physics, demonstrations=shown)
    result.policy.save(output / "policy")
    started = time.perf_counter()
    trial = _try(config, task, trained, result)
    seconds = result.wall_seconds + time.perf_counter() - started
    write_json(output / "result.json", _record(config, task, trained, result, trial, seconds))
    shutil.rmtree(work)
    _print_table(trial)
    print(f"agent: {output}")


def _best_logged(folder: Path, task: TaskSpec, share: float) -> list[Episode]:
    """What ppo begins as."""
    dataset = open_dataset(folder)
    if dataset.task.name != task.name:
        raise ConfigError(f"imitate={folder}: recorded of {dataset.task.name}, not of {task.name}")
    return best_episodes(list(dataset.episodes()), dataset.task.max_episode_steps, share)


def _settings(config: AgentConfig) -> dict[str, Any]:
    """What makes two agents the same agent, as JSON reads it back."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    beside = ("output", "threads", *(() if config.imitate else ("imitate_share",)))
    return {name: value for name, value in settings.items() if name not in beside}


def _model_files(trained: TrainedModel | None) -> dict[str, str] | None:
    """Hashes that say which model it was."""
    return None if trained is None else dict(trained.manifest["files"])


def _world(config: AgentConfig) -> tuple[TrainedModel | None, TaskSpec]:
    if config.task is not None:
        if config.world != "physics":
            raise ConfigError(f"task={config.task}: only for world=physics; in imagination the model names the robot")
        return None, task_spec(config.task)
    trained = load_model(config.model)
    if trained.model.cameras:
        raise ConfigError(
            f"model={config.model} sees through a camera: agents/train_camera_agent.py is for such models"
        )
    return trained, trained.task


def _learn_config(config: AgentConfig) -> LearnConfig:
    physics = config.world == "physics"
    # PPO lives on many rollouts, SAC on many updates: each gets what reaches its best in a few minutes.
    steps, num_envs = (200_000, 64) if config.algorithm == "sac" else (2_000_000, 512)
    imagination = {name: getattr(config, name) for name in ("start", "horizon", "uncertainty", "penalty")}
    return LearnConfig(
        algorithm=config.algorithm,
        world=config.world,
        steps=steps if config.steps is None else config.steps,
        num_envs=(1 if physics else num_envs) if config.num_envs is None else config.num_envs,
        seed=config.seed,
        settings=config.settings,
        imagination={} if physics else imagination,
        normalize=config.normalize,
        measure_every=config.measure_every,
    )


def _try(config: AgentConfig, task: TaskSpec, trained: TrainedModel | None, result: LearnResult) -> list[Returns]:
    """The agent and uniform random actions, in the physics and, from the same starts, in imagination."""
    if task.env_id is None:
        return []
    actors = {config.algorithm: PolicyActor(result.policy, task.action_space)}
    actors["random"] = RandomActor(task.action_space, config.seed)
    generator = np.random.default_rng(config.seed)
    seeds = range(FIRST_SEED, FIRST_SEED + config.episodes)
    env, trial = make_physics(task), []
    for name, actor in actors.items():
        kind = "random" if name == "random" else "control" if config.world == "physics" else "imagination"
        if trained is None:
            returns = episode_returns(physical_episodes(env, actor, seeds, task.control_dt, name))
            interval, length = mean_interval(returns, generator), float("nan")
            trial.append(Returns(name, kind, interval, returns, length))
            continue
        contender = Contender(name, kind, actor)
        imagine = partial(WorldModelVectorEnv, model=trained)
        episodes = play_both_worlds(contender, env, imagine, seeds, task.control_dt, config.seed)
        trial.append(compare_returns(contender, *episodes, task.max_episode_steps, generator))
    env.close()
    return trial


def _record(
    config: AgentConfig,
    task: TaskSpec,
    trained: TrainedModel | None,
    result: LearnResult,
    trial: list[Returns],
    seconds: float,
) -> dict[str, Any]:
    real_steps = result.steps
    if config.world == "imagination" and trained is not None:
        real_steps = int(trained.manifest["dataset"]["steps"])
    figures: dict[str, Any] = {}
    for returns in trial:
        figures[returns.name] = {
            "physical": _plain(returns.physical),
            "imagined": _plain(returns.imagined),
            "gap": _plain(returns.gap),
            "physical_returns": [round(float(value), 4) for value in returns.physical_returns],
        }
    return {
        "settings": _settings(config),
        "task": task.name,
        "algorithm": config.algorithm,
        "world": config.world,
        "seed": config.seed,
        "steps": result.steps,
        "real_steps": real_steps,
        "trial": figures,
        "curve": result.curve,
        "training_seconds": round(result.wall_seconds, 1),
        "wall_seconds": round(seconds, 1),
        "model": _model_files(trained),
        "command": command_line(),
        "machine": describe_machine(),
        "versions": installed_versions(),
    }


def _plain(interval: Interval | None) -> dict[str, float] | None:
    if interval is None:
        return None
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _print_table(trial: list[Returns]) -> None:
    print(f"\n{'return per episode':<20}{'MuJoCo':>30}{'imagination':>30}{'gap':>30}")
    for returns in trial:
        cells = [_shown(value) for value in (returns.physical, returns.imagined, returns.gap)]
        print(f"{returns.name:<20}" + "".join(f"{cell:>30}" for cell in cells))


def _shown(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


if __name__ == "__main__":
    run_program(main, AgentConfig)
