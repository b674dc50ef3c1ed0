"""Hold a world model and the policies trained in it against the physics: writes report.html and report.json."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from wm_gym.config import REQUIRED, run_program
from wm_gym.data.episodes import Dataset, open_dataset
from wm_gym.errors import ConfigError, ModelError
from wm_gym.evaluation.actors import RandomActor
from wm_gym.evaluation.agents import Agent, read_agent
from wm_gym.evaluation.assembly import Circumstances, assemble_report, behaviour_returns, write_report
from wm_gym.evaluation.charts import shown
from wm_gym.evaluation.comparison import ComparisonConfig, gather_evidence
from wm_gym.evaluation.control import read_control, train_control
from wm_gym.evaluation.identity import command_line
from wm_gym.evaluation.report import method_rows
from wm_gym.evaluation.returns import Contender, Returns
from wm_gym.models import TrainedModel, load_model

RESULTS = Path(__file__).parent / "results"
QUICK = {"episodes": 20, "horizon": 50, "film_starts": 1}
CONTROL_STEPS_PER_SECOND = 60
"""What stable-baselines3's SAC manages on one core, for the time that is announced."""


@dataclass
class Settings:
    """Settings of one report."""

    model: str = field(default=REQUIRED, metadata={"help": "model folder, or the name of a shipped model"})
    output: str = field(
        default=REQUIRED, metadata={"help": "folder for report.html, report.json, trajectories.parquet"}
    )
    agent: Any = field(default=None, metadata={"help": "folder of an agent, or several: agent=[A,B,C]"})
    dataset: str | None = field(default=None, metadata={"help": "the model's data: adds its returns and a leak check"})
    control: str = field(default="committed", metadata={"help": "SAC trained in MuJoCo: committed, run or none"})
    episodes: int = field(default=100, metadata={"help": "in each world and for each policy"})
    horizon: int = field(default=100, metadata={"help": "steps predicted in open loop"})
    seed: int = field(default=0, metadata={"help": "of random actions, imagination and resampling"})
    film: bool = field(default=True, metadata={"help": "put a side-by-side film into the page"})
    quick: bool = field(default=False, metadata={"help": "20 episodes and 50 steps: rough intervals"})


def main(settings: Settings) -> None:
    """Hold a world model and the policies trained in it against the physics."""
    started = time.perf_counter()
    config = comparison_config(settings)
    trained = load_model(settings.model)
    agents = [read_agent(folder, trained.task) for folder in agent_folders(settings.agent)]
    dataset = open_dataset(settings.dataset) if settings.dataset else None
    training = training_episodes(trained, dataset)
    generator = np.random.default_rng(settings.seed)
    announce(settings, config, trained, agents)
    earlier = behaviour_returns(trained, dataset, generator)
    contenders = [agent.contender for agent in agents]
    controls = find_control(settings, trained, generator)
    earlier += [control for control in controls if isinstance(control, Returns)]
    contenders += [control for control in controls if isinstance(control, Contender)]
    contenders.append(Contender("random actions", "random", RandomActor(trained.task.action_space, settings.seed)))
    evidence = gather_evidence(trained, contenders, training, config, generator, track)
    circumstances = Circumstances(
        command=command_line(),
        wall_seconds=time.perf_counter() - started,
        control=settings.control if controls else "none",
        policies={agent.contender.name: agent.sha256 for agent in agents},
        agent_commands=[agent.command for agent in agents if agent.command],
    )
    values = assemble_report(trained, evidence, earlier, dataset, config, circumstances, generator)
    page = write_report(Path(settings.output), values, evidence)
    shutil.rmtree(_control_work(settings), ignore_errors=True)
    show(values)
    print(f"report: {page}")


def _control_work(settings: Settings) -> Path:
    """Where the control's training is kept until the report is safe."""
    return Path(f"{settings.output}.control.partial")


def comparison_config(settings: Settings) -> ComparisonConfig:
    """How much to compare.

    Raises:
        ConfigError: a number is out of range.
    """
    for name, least in (("episodes", 2), ("horizon", 1)):
        if getattr(settings, name) < least:
            raise ConfigError(f"{name}={getattr(settings, name)}: at least {least} is needed")
    if settings.control not in ("committed", "run", "none"):
        raise ConfigError(f"control={settings.control!r}: one of committed, run, none")
    chosen = {"episodes": settings.episodes, "horizon": settings.horizon} | (QUICK if settings.quick else {})
    if not settings.film:
        chosen["film_starts"] = 0
    return ComparisonConfig(seed=settings.seed, **chosen)


def agent_folders(agent: Any) -> list[str]:
    """None, one folder or a list of them."""
    if agent is None:
        return []
    folders = [agent] if isinstance(agent, str) else agent
    if not isinstance(folders, list) or not all(isinstance(folder, str) for folder in folders):
        raise ConfigError(f"agent={agent!r}: a folder, or a list like agent=[outputs/a,outputs/b]")
    return folders


def training_episodes(trained: TrainedModel, dataset: Dataset | None) -> list[Any]:
    """The episodes that the model was fitted to, if they are at hand."""
    if dataset is None:
        return []
    spaces = (dataset.task.observation_space.size, dataset.task.action_space.size)
    if spaces != (trained.task.observation_space.size, trained.task.action_space.size):
        raise ModelError(f"{dataset.folder} has {spaces[0]} observations and {spaces[1]} actions; the model has others")
    return list(dataset.episodes())


def find_control(
    settings: Settings, trained: TrainedModel, generator: np.random.Generator
) -> Sequence[Returns | Contender]:
    """SAC trained in MuJoCo itself on as many real steps as the model learnt from."""
    steps = dict(trained.manifest.get("dataset", {})).get("steps")
    if settings.control == "committed":
        path = RESULTS / f"transfer_{trained.task.name}.json"
        found = read_control(path, steps, generator)
        if not found:
            print(f"no control of {steps} real steps in {path.name}: the report goes without (control=run trains one)")
        return found
    if settings.control == "none":
        return []
    if not steps:
        raise ConfigError("control=run: the model's manifest does not say how many real steps it learnt from")
    return [train_control(trained.task, int(steps), settings.seed, _control_work(settings))]


def announce(settings: Settings, config: ComparisonConfig, trained: TrainedModel, agents: Sequence[Agent]) -> None:
    """Say what will be done and about how long it takes."""
    task = trained.task
    steps = config.episodes * (task.max_episode_steps * (len(agents) + 1) + 2 * config.horizon)
    seconds = 15 + steps / 4000
    if settings.control == "run":
        seconds += dict(trained.manifest.get("dataset", {})).get("steps", 0) / CONTROL_STEPS_PER_SECOND
    print(
        f"{task.name}: {config.episodes} episodes of {len(agents)} trained policies and of random actions in MuJoCo "
        f"and in imagination, {config.episodes} held-out episodes predicted for {config.horizon} steps; "
        f"about {max(0.5, seconds / 60):.1f} minutes"
    )


def track(name: str, seeds: Sequence[int]) -> Iterable[int]:
    """Show progress through the episodes of a stage."""
    bar: Iterable[int] = tqdm(seeds, desc=f"{name:<32}", unit="episode")
    return bar


def show(values: dict[str, Any]) -> None:
    """The key figures as a small table."""
    print(f"\n{'return per episode':<36}{'in MuJoCo':>12}{'imagined':>12}{'gap':>10}")
    for row in method_rows(values["returns"]):
        cells = [shown(row[key]["value"]) if row[key] else "-" for key in ("physical", "imagined", "gap")]
        print(f"{row['name'][:35]:<36}{cells[0]:>12}{cells[1]:>12}{cells[2]:>10}")
    last = values["open_loop"]["table"][-1]
    print(f"\nopen-loop nRMSE after {last['horizon']} steps: model {shown(last['model']['value'])}", end="")
    print(f", best naive {shown(last['best_baseline'])}, MuJoCo's own floor {shown(last['floor']['value'])}")
    for warning in values["warnings"]:
        print(f"note: {warning}")
    print()


if __name__ == "__main__":
    run_program(main, Settings)
