"""Learn a robot from scratch in a few rounds: record, fit a world model, train PPO in it, record with that policy.

python agents/train_rounds.py task=reacher steps=5000 seed=0 output=outputs/reacher/rounds_0

Every round leaves a dataset, a model and an agent like any other: to be looked at, compared with MuJoCo, trained on.

Source: Kurutach et al. 2018, "Model-Ensemble Trust-Region Policy Optimization", algorithm 2, with PPO.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wm_gym.config import REQUIRED, PlayConfig, claim_output, is_complete, run_program
from wm_gym.data.episodes import open_dataset
from wm_gym.data.writer import DatasetWriter
from wm_gym.envs import WorldModelVectorEnv
from wm_gym.envs.imagination_config import ImaginationConfig
from wm_gym.errors import ConfigError
from wm_gym.evaluation.actors import PolicyActor
from wm_gym.evaluation.charts import write_figure
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.evaluation.learning_chart import draw_progress
from wm_gym.evaluation.returns import FIRST_SEED, Contender, compare_returns, play_both_worlds
from wm_gym.files import read_json, write_json
from wm_gym.models import load_model
from wm_gym.physics.collect import Recipe, record_episodes
from wm_gym.physics.tasks import make_physics, task_spec
from wm_gym.policies import load_policy
from wm_gym.policies.training import LearnConfig, learn
from wm_gym.policies.trials import imagine_returns
from wm_gym.train import TrainConfig, train
from wm_gym.types import Episode, TaskSpec

_FIRST, _LATER = {"random": 0.5, "smooth": 0.5}, {"learnt": 0.5, "noisy_learnt": 0.5}


@dataclass
class Settings:
    """Settings of one robot learnt from scratch."""

    output: str = field(default=REQUIRED, metadata={"help": "folder to write"})
    task: str = field(default="reacher", metadata={"help": "robot of wm_gym.physics.tasks"})
    steps: int = field(default=5_000, metadata={"help": "real steps, alike many in every round"})
    rounds: int = field(default=2, metadata={"help": "of recording, fitting and training"})
    seed: int = field(default=0, metadata={"help": "of everything"})
    updates: int = field(default=4_000, metadata={"help": "gradient steps of each fit"})
    batch_size: int = field(default=320, metadata={"help": "windows per gradient step"})
    longest_horizon: int = field(default=16, metadata={"help": "of a fit; 1 for robots that fall within few steps"})
    agent_steps: int = field(default=1_000_000, metadata={"help": "imagined steps of each training of PPO"})
    num_envs: int = field(default=256, metadata={"help": "imagined rollouts side by side"})
    settings: dict[str, Any] = field(default_factory=dict, metadata={"help": "of SB3's PPO, replacing ours"})
    normalize: bool = field(default=False, metadata={"help": "scale rewards, for returns in the hundreds"})
    imagination: PlayConfig = field(default_factory=PlayConfig)
    episodes: int = field(default=20, metadata={"help": f"of the trials after each round, seeds from {FIRST_SEED}"})
    threads: int = field(default=1, metadata={"help": "torch threads; 0 leaves torch's own choice"})


def main(settings: Settings) -> None:
    """Learn a robot from scratch: record, fit, train in imagination, and again with what was learnt."""
    output, task = Path(settings.output), replace(task_spec(settings.task), cameras=())
    check(settings)
    identity = {name: value for name, value in asdict(settings).items() if name not in ("output", "threads")}
    claim_output(output, identity)
    if is_complete(output, {"settings": identity}):
        return
    if settings.threads > 0:
        torch.set_num_threads(settings.threads)
    print(
        f"learn {task.name} from {settings.steps:,} real steps in {settings.rounds} rounds, each with "
        f"{settings.updates:,} updates of a world model and {settings.agent_steps:,} imagined steps of PPO",
        flush=True,
    )
    curve: list[dict[str, Any]] = []
    for number in range(settings.rounds):
        folder = output / f"round_{number}"
        if not (folder / "round.json").exists():
            write_json(folder / "round.json", play_round(settings, task, number, output))
        shutil.rmtree(folder / "agent.partial", ignore_errors=True)
        curve.append(read_json(folder / "round.json"))
        last = curve[-1]
        print(f"{last['steps']:>8,} real steps: {last['return']:.2f} in MuJoCo, {last['imagined']:.2f} imagined")
    kept, promised = choose(settings, output)
    load_policy(output / f"round_{kept}" / "agent").save(output / "policy")
    record = {
        "settings": identity,
        "task": task.name,
        "algorithm": "rounds",
        "seed": settings.seed,
        "real_steps": settings.steps,
        "kept_round": kept,
        "imagined_by_the_last_model": promised,
        "physical": curve[kept]["interval"],
        "physical_returns": curve[kept]["physical"],
        "curve": curve,
        "wall_seconds": round(sum(point["seconds"] for point in curve), 1),
        "command": command_line(),
        "machine": describe_machine(),
        "versions": installed_versions(),
    }
    write_figure(output / "learning.svg", draw_progress(curve, task.name))
    write_json(output / "result.json", record)
    print(f"kept, as the last model imagines it best: round {kept}, {curve[kept]['return']:.2f} in MuJoCo")
    print(f"chart: {output / 'learning.svg'}\nagent: {output}")


def choose(settings: Settings, output: Path) -> tuple[int, list[float]]:
    """The round whose policy the last world model imagines best, and what it imagines of each: no real step is taken.

    A later policy need not be a better one, and the last model has seen what became of all but its own.
    """
    trained = load_model(output / f"round_{settings.rounds - 1}" / "model")
    promised = []
    for number in range(settings.rounds):
        policy = load_policy(output / f"round_{number}" / "agent")
        promised.append(round(imagine_returns(trained, policy, 128).mean().item(), 4))
    return promised.index(max(promised)), promised


def check(settings: Settings) -> None:
    """Raise ``ConfigError`` on what cannot be run."""
    if settings.rounds < 1 or settings.steps < 2 * settings.rounds:
        raise ConfigError(f"steps={settings.steps}, rounds={settings.rounds}: at least two steps for each round")
    if settings.episodes < 2:
        raise ConfigError(f"episodes={settings.episodes}: at least 2 are needed for an interval")
    if settings.seed < 0 or settings.agent_steps < 1:
        raise ConfigError(f"seed={settings.seed}, agent_steps={settings.agent_steps}: seeds from 0 on, and some steps")
    ImaginationConfig(**asdict(settings.imagination)).check(("state",))
    fit_config(settings, Path(), Path()).fit_config()
    learn_config(settings, 0).check()


def play_round(settings: Settings, task: TaskSpec, number: int, output: Path) -> dict[str, Any]:
    """Record, fit, train and try: the trial's figures."""
    started, folder = time.perf_counter(), output / f"round_{number}"
    earlier = output / f"round_{number - 1}" if number else None
    record_on(settings, task, number, earlier, folder / "data")
    seconds = time.perf_counter() - started
    train(fit_config(settings, folder / "data", folder / "model"))
    trained = load_model(folder / "model")
    result = learn(learn_config(settings, number), task, trained, folder / "agent.partial", make_physics)
    result.policy.save(folder / "agent" / "policy")
    started = time.perf_counter()
    contender = Contender("ppo", "imagination", PolicyActor(result.policy, task.action_space))
    env, imagine = make_physics(task), partial(WorldModelVectorEnv, model=trained)
    seeds = range(FIRST_SEED, FIRST_SEED + settings.episodes)
    episodes = play_both_worlds(contender, env, imagine, seeds, task.control_dt, settings.seed)
    env.close()
    returns = compare_returns(
        contender, *episodes, task.max_episode_steps, np.random.default_rng([settings.seed, number])
    )
    assert returns.imagined is not None and returns.gap is not None
    # Those of a fit and of a training before an interruption are kept with them.
    seconds += trained.manifest["fit"]["wall_seconds"] + result.wall_seconds + time.perf_counter() - started
    return {
        "steps": steps_after(settings, number),
        "seconds": round(seconds, 1),
        "return": returns.physical.value,
        "interval": {"value": returns.physical.value, "low": returns.physical.low, "high": returns.physical.high},
        "physical": [round(float(value), 4) for value in returns.physical_returns],
        "imagined": returns.imagined.value,
        "gap": {"value": returns.gap.value, "low": returns.gap.low, "high": returns.gap.high},
    }


def steps_after(settings: Settings, number: int) -> int:
    """Real steps after so many rounds and one more."""
    return round(settings.steps * (number + 1) / settings.rounds)


def record_on(settings: Settings, task: TaskSpec, number: int, earlier: Path | None, folder: Path) -> None:
    """A dataset of all that earlier rounds recorded and of this one's steps, in which the last policy acts."""
    fresh = steps_after(settings, number) - (steps_after(settings, number - 1) if number else 0)
    policies = {} if earlier is None else {"learnt": partial(load_policy, earlier / "agent")}
    recipe = Recipe(fresh, 1000 * settings.seed + number, _LATER if number else _FIRST, policies)
    described = {"seed": recipe.seed, "num_steps": steps_after(settings, number), "round": number}
    versions = {name: installed_versions()[name] for name in ("mujoco", "gymnasium")}
    writer = DatasetWriter(folder, task, described, "CC0-1.0", versions, command_line())
    if writer.finished:
        return
    keys = []
    for index, episode in enumerate(open_dataset(earlier / "data").episodes() if earlier is not None else ()):
        keys.append(stage(writer, f"earlier-{index:06d}", episode))
    fresh_keys = record_episodes(task, recipe, writer.stage, writer.discard, {})
    writer.finish([*keys, *fresh_keys])


def stage(writer: DatasetWriter, key: str, episode: Episode) -> str:
    """Stage an episode anew, and give its key."""
    writer.discard(key)
    writer.stage(key, episode)
    return key


def fit_config(settings: Settings, dataset: Path, model: Path) -> TrainConfig:
    """How the world models are fitted."""
    return TrainConfig(
        dataset=str(dataset),
        output=str(model),
        seed=settings.seed,
        threads=settings.threads,
        updates=settings.updates,
        batch_size=settings.batch_size,
        longest_horizon=settings.longest_horizon,
    )


def learn_config(settings: Settings, number: int) -> LearnConfig:
    """How the agents are trained: each from nothing."""
    return LearnConfig(
        steps=settings.agent_steps,
        num_envs=settings.num_envs,
        seed=1000 * settings.seed + number,
        settings=settings.settings,
        imagination=asdict(settings.imagination),
        normalize=settings.normalize,
    )


if __name__ == "__main__":
    run_program(main, Settings)
