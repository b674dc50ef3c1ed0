"""Hold a world model, and policies, against the physics: writes report.html and report.json, with a verdict per use."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from wm_gym.config import REQUIRED, run_program
from wm_gym.data.episodes import Dataset, open_dataset
from wm_gym.errors import ConfigError, ModelError
from wm_gym.evaluation import report
from wm_gym.evaluation.actors import RandomActor
from wm_gym.evaluation.agents import read_agent
from wm_gym.evaluation.bench import QUICK, Bench, PanelMember, ReportConfig
from wm_gym.evaluation.camera_report import NOT_MEASURED, read_camera, read_camera_agent, read_film
from wm_gym.evaluation.charts import shown
from wm_gym.evaluation.control import read_control, train_control
from wm_gym.evaluation.film import Film
from wm_gym.evaluation.filming import film_report
from wm_gym.evaluation.identity import command_line, folder_digest
from wm_gym.evaluation.judging import NAMES, judge, measure
from wm_gym.evaluation.provenance import (
    Circumstances,
    behaviour_returns,
    describe_data,
    describe_identity,
    model_card,
)
from wm_gym.evaluation.records import Record
from wm_gym.evaluation.report_folder import write_report
from wm_gym.evaluation.returns import Contender, Returns
from wm_gym.evaluation.trajectories import Recorded
from wm_gym.evaluation.video import video_table
from wm_gym.evaluation.worlds import LearnedWorld, PhysicsWorld
from wm_gym.models import TrainedModel, load_model
from wm_gym.policies.panel import CHECKPOINT_RULE, load_panel

HERE = Path(__file__).parent
CONTROL_STEPS_PER_SECOND = 60
"""What stable-baselines3's SAC manages on one core, for the time that is announced."""


@dataclass
class Settings:
    """Settings of one report."""

    model: str = field(default=REQUIRED, metadata={"help": "model folder, or the name of a shipped model"})
    output: str = field(default=REQUIRED, metadata={"help": "folder of the report"})
    agent: Any = field(default=None, metadata={"help": "folder of an agent, or several: agent=[A,B,C]"})
    panel: str | None = field(default=None, metadata={"help": "panel folder; benchmarks/panels/TASK if there is one"})
    video: str | None = field(default=None, metadata={"help": "of a camera model: folder of measure_video.py"})
    dataset: str | None = field(default=None, metadata={"help": "the model's data: adds its returns and a leak check"})
    control: str = field(default="committed", metadata={"help": "SAC trained in MuJoCo: committed, run or none"})
    sections: Any = field(default=None, metadata={"help": f"only these, as a list, of {', '.join(NAMES)}"})
    episodes: int = field(default=100, metadata={"help": "of each agent in each world"})
    panel_episodes: int = field(default=20, metadata={"help": "of each policy of the panel in each world"})
    horizon: int = field(default=100, metadata={"help": "steps predicted in open loop"})
    seed: int = field(default=0, metadata={"help": "of random actions, imagination, searches and resampling"})
    film: bool = field(default=True, metadata={"help": "put a side-by-side film into the page"})
    quick: bool = field(default=False, metadata={"help": "a little of everything: rough intervals, about two minutes"})


@dataclass(frozen=True)
class Findings:
    """What was measured of a model, before it is judged."""

    names: Sequence[str]
    """Sections that were measured."""
    records: Sequence[Record] = ()
    kept: Sequence[Recorded] = ()
    film: Film | None = None
    filmed: Mapping[str, Any] = field(default_factory=dict)
    camera: Mapping[str, Any] = field(default_factory=lambda: NOT_MEASURED)
    control: str = "none"
    policies: Mapping[str, str] = field(default_factory=dict)
    panel: Mapping[str, Any] | None = None
    agent_commands: Sequence[str] = ()


def main(settings: Settings) -> None:
    """Hold a world model, and policies, against the physics."""
    started, spent = time.perf_counter(), time.process_time()
    config, names = report_config(settings), section_names(settings.sections)
    trained = load_model(settings.model)
    dataset = open_dataset(settings.dataset) if settings.dataset else None
    check_dataset(trained, dataset)
    if trained.model.cameras:
        found = look_at_pictures(settings, trained)
    else:
        found = measure_states(settings, config, names, trained, dataset)
    circumstances = Circumstances(
        command=command_line(),
        wall_seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time() - spent,
        control=found.control,
        policies=found.policies,
        panel=found.panel,
        agent_commands=found.agent_commands,
    )
    header = {
        "schema_version": report.SCHEMA_VERSION,
        "task": trained.task.to_dict(),
        "settings": config.to_dict(),
        "measured": list(found.names),
        "identity": describe_identity(trained, config, circumstances),
        "model_card": model_card(trained),
        "data": describe_data(trained, dataset, found.kept),
        "camera": found.camera,
        "film": found.filmed,
        "limits": report.limits(trained.task, circumstances.control),
    }
    values = judge(report.plain(header), found.records)
    page = write_report(Path(settings.output), values, found.records, found.kept, found.film)
    shutil.rmtree(_control_work(settings), ignore_errors=True)
    show(values)
    print(f"report: {page}")


def measure_states(
    settings: Settings, config: ReportConfig, names: Sequence[str], trained: TrainedModel, dataset: Dataset | None
) -> Findings:
    """Hold a model of states against MuJoCo, section by section."""
    if settings.video:
        raise ConfigError(f"video={settings.video}: model={settings.model} draws no pictures; leave it out")
    agents = [read_agent(folder, trained.task) for folder in agent_folders(settings.agent)]
    panel, described = read_panel(settings.panel, trained)
    generator = np.random.default_rng(settings.seed)
    announce(settings, config, trained, len(agents), len(panel))
    controls = find_control(settings, trained, generator)
    contenders = [agent.contender for agent in agents] + [c for c in controls if isinstance(c, Contender)]
    contenders.append(Contender("random actions", "random", RandomActor(trained.task.action_space, settings.seed)))
    earlier = behaviour_returns(trained, dataset, generator) + [c for c in controls if isinstance(c, Returns)]
    bench = Bench(
        trained.task,
        LearnedWorld(trained),
        PhysicsWorld(trained.task),
        config,
        contenders,
        earlier,
        panel,
        list(dataset.episodes()) if dataset else (),
        track,
    )
    records, kept = measure(bench, names)
    sha256 = str(trained.manifest.get("files", {}).get("model.safetensors"))
    film, filmed = film_report(trained.task, kept, config, sha256)
    return Findings(
        names,
        records,
        kept,
        film,
        filmed,
        control=settings.control if controls else "none",
        policies={agent.contender.name: agent.sha256 for agent in agents},
        panel=described,
        agent_commands=[agent.command for agent in agents if agent.command],
    )


def look_at_pictures(settings: Settings, trained: TrainedModel) -> Findings:
    """Take over what benchmarks/measure_video.py found of a camera model, and what its agents earned."""
    if not settings.video:
        raise ConfigError(
            f"model={settings.model} sees through a camera: run benchmarks/measure_video.py, and give video=FOLDER"
        )
    folder = Path(settings.video)
    camera = read_camera(folder, trained)
    agents = [read_camera_agent(Path(agent), trained) for agent in agent_folders(settings.agent)]
    film = read_film(folder) if settings.film else None
    caption = "The first held-out window: MuJoCo, imagined, and their difference, with the step and the uncertainty."
    stills = "Moments of it: MuJoCo, imagined below (marked), and their difference."
    reason = "" if film else "none was asked for."
    return Findings(
        names=(),
        film=film,
        filmed={"included": film is not None, "reason": reason, "caption": caption, "stills": stills},
        camera=camera | {"agents": agents},
        policies={f"{a['method']}, seed {a['seed']}": a["sha256"] for a in agents if a["sha256"]},
        agent_commands=[agent["command"] for agent in agents],
    )


def report_config(settings: Settings) -> ReportConfig:
    """How much to measure.

    Raises:
        ConfigError: a number is out of range.
    """
    for name, least in (("episodes", 2), ("panel_episodes", 2), ("horizon", 1)):
        if getattr(settings, name) < least:
            raise ConfigError(f"{name}={getattr(settings, name)}: at least {least} is needed")
    if settings.control not in ("committed", "run", "none"):
        raise ConfigError(f"control={settings.control!r}: one of committed, run, none")
    config = QUICK
    if not settings.quick:
        config = ReportConfig(
            episodes=settings.episodes, panel_episodes=settings.panel_episodes, horizon=settings.horizon
        )
    return replace(config, seed=settings.seed, film_starts=config.film_starts if settings.film else 0)


def section_names(sections: Any) -> Sequence[str]:
    """All sections, or those of a list.

    Raises:
        ConfigError: there is no such section.
    """
    if sections is None:
        return NAMES
    chosen = [sections] if isinstance(sections, str) else list(sections)
    if unknown := [name for name in chosen if name not in NAMES]:
        raise ConfigError(f"sections: there is no {unknown[0]!r} (one of {', '.join(NAMES)})")
    return [name for name in NAMES if name in chosen]


def agent_folders(agent: Any) -> list[str]:
    """None, one folder or a list of them."""
    if agent is None:
        return []
    folders = [agent] if isinstance(agent, str) else agent
    if not isinstance(folders, list) or not all(isinstance(folder, str) for folder in folders):
        raise ConfigError(f"agent={agent!r}: a folder, or a list like agent=[outputs/a,outputs/b]")
    return folders


def read_panel(panel: str | None, trained: TrainedModel) -> tuple[list[PanelMember], dict[str, Any] | None]:
    """The policies of a panel and what names it; the committed one of the task, or none."""
    committed = HERE / "panels" / trained.task.name
    folder = Path(panel) if panel else committed
    if panel is None and not committed.is_dir():
        print(f"no panel of {trained.task.name}: policies are not ranked (panel=FOLDER, of agents/train_panel.py)")
        return [], None
    members = load_panel(folder)
    shown = np.zeros((1, trained.task.observation_space.size), np.float32)
    for member in members:
        try:
            actions = member.act(shown, np.zeros(1, int), 0)
        except ValueError as error:
            raise ModelError(f"{folder}: {member.name} is no policy for {trained.task.name} ({error})") from error
        if actions.shape != (1, trained.task.action_space.size):
            raise ModelError(
                f"{folder}: {member.name} gives {actions.shape[-1]} actions, {trained.task.name} takes others"
            )
    returned = [dict(member.details.get("return") or {}).get("value", float("nan")) for member in members]
    described = {"policies": len(members), "sha256": folder_digest(folder), "checkpoints": CHECKPOINT_RULE}
    return [PanelMember(m.name, m.kind, m, r) for m, r in zip(members, returned, strict=True)], described


def check_dataset(trained: TrainedModel, dataset: Dataset | None) -> None:
    """Refuse the recording of another robot."""
    if dataset is None:
        return
    spaces = (dataset.task.observation_space.size, dataset.task.action_space.size)
    if spaces != (trained.task.observation_space.size, trained.task.action_space.size):
        raise ModelError(f"{dataset.folder} has {spaces[0]} observations and {spaces[1]} actions; the model has others")


def find_control(
    settings: Settings, trained: TrainedModel, generator: np.random.Generator
) -> Sequence[Returns | Contender]:
    """SAC trained in MuJoCo itself on as many real steps as the model learnt from."""
    steps = dict(trained.manifest.get("dataset", {})).get("steps")
    if settings.control == "committed":
        path = HERE / "results" / f"transfer_{trained.task.name}.json"
        found = read_control(path, steps, generator)
        if not found:
            print(f"no control of {steps} real steps in {path.name}: the report goes without (control=run trains one)")
        return found
    if settings.control == "none":
        return []
    if not steps:
        raise ConfigError("control=run: the model's manifest does not say how many real steps it learnt from")
    return [train_control(trained.task, int(steps), settings.seed, _control_work(settings))]


def _control_work(settings: Settings) -> Path:
    """Where the control's training is kept until the report is safe."""
    return Path(f"{settings.output}.control.partial")


def announce(settings: Settings, config: ReportConfig, trained: TrainedModel, agents: int, panel: int) -> None:
    """Say what will be done and about how long it takes."""
    limit = trained.task.max_episode_steps
    steps = config.episodes * limit * (agents + 1) + config.panel_episodes * limit * panel
    steps += config.plan_episodes * config.plan_steps * config.plan_samples * 24 + config.gap_episodes * limit * 30
    seconds = 40 + steps / 6000
    if settings.control == "run":
        seconds += dict(trained.manifest.get("dataset", {})).get("steps", 0) / CONTROL_STEPS_PER_SECOND
    print(
        f"{trained.task.name}: {agents} agents, random actions and a panel of {panel} policies in MuJoCo and in "
        f"imagination, {config.episodes} held-out episodes, searches and plans; about {max(1, round(seconds / 60))} "
        "minutes at most"
    )


def track(name: str, rows: Sequence[int]) -> Iterable[int]:
    """Show progress through the rows of a stage."""
    bar: Iterable[int] = tqdm(rows, desc=f"{name[:32]:<32}", unit="row")
    return bar


def show(values: dict[str, Any]) -> None:
    """The key figures as a small table."""
    if values["camera"]["tested"]:
        print("\n" + "\n".join(video_table(values["camera"], ["imagination", "last frame", "mean frame"])))
    closed = values["closed_loop"]
    if closed["tested"]:
        print(f"\n{'return per episode':<36}{'in MuJoCo':>12}{'imagined':>12}{'gap':>10}")
        for row in report.method_rows(closed):
            cells = [shown(row[key]["value"]) if row[key] else "-" for key in ("physical", "imagined", "gap")]
            print(f"{row['name'][:35]:<36}{cells[0]:>12}{cells[1]:>12}{cells[2]:>10}")
    print(f"\n{'use':<16}{'verdict':<14}decided by")
    for use, verdict in values["verdicts"].items():
        reason = verdict["decided_by"]
        if verdict["figure"] is not None:
            reason += f" {shown(verdict['figure'])} ({verdict['sense']} {shown(verdict['gate'])})"
        print(f"{use:<16}{verdict['verdict']:<14}{reason}")
    print()
    for warning in values["warnings"]:
        print(f"note: {warning}")
    print()


if __name__ == "__main__":
    run_program(main, Settings)
