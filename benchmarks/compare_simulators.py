"""Train the same agent in five worlds, and see which one carries over to a robot that is not what its model says.

python benchmarks/compare_simulators.py task=reacher minutes=10 output=outputs/reacher/simulators

The robot is MuJoCo with secrets: other friction, damping and motors, late commands, play in the drives. Some minutes of
its logs, CSV files, are all that anybody is told. The worlds: imagination fitted to these logs, nominal MuJoCo, MuJoCo
drawn anew for each episode, MuJoCo fitted to the logs by mujoco.sysid, and the robot itself, which nobody else has.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from wm_gym.config import REQUIRED, PlayConfig, run_program
from wm_gym.envs.imagination_config import ImaginationConfig
from wm_gym.errors import ConfigError, DataError
from wm_gym.evaluation.charts import shown, shown_interval
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.evaluation.robot_logs import import_logs, read_motions, record_logs
from wm_gym.evaluation.simulators import WORLDS, Training, compare_worlds, train_all
from wm_gym.evaluation.simulators_chart import write_simulators_chart
from wm_gym.files import read_json, write_json
from wm_gym.physics.alteration import Alteration, Ranges, make_altered
from wm_gym.physics.behaviours import LoadPolicy
from wm_gym.physics.collect import Recipe
from wm_gym.physics.identification import identify
from wm_gym.physics.tasks import get_physics_state, make_physics, task_spec
from wm_gym.policies import load_policy
from wm_gym.train import TrainConfig, train
from wm_gym.types import TaskSpec

BESIDE = ("output", "seeds", "worlds", "workers")
"""Settings that may change between two calls with the same output: they only add to it."""
UPDATE_SECONDS, STEP_SECONDS = 0.022, {"ppo": (7e-5, 3e-3), "sac": (5e-4, 0.0)}
"""One core's, of a world model's update and of an agent's step: a part of its own, and one that rollouts side by side
share. For what is announced alone."""


@dataclass
class SecretConfig:
    """What the robot does not tell."""

    friction: float = field(default=0.6, metadata={"help": "factor on the friction of contacts"})
    damping: float = field(default=1.5, metadata={"help": "factor on the damping of joints"})
    gain: float = field(default=0.7, metadata={"help": "factor on what motors give"})
    delay: float = field(default=0.02, metadata={"help": "seconds until a command arrives, in whole simulation steps"})
    dead_zone: float = field(default=0.2, metadata={"help": "share of a motor's range lost in its drive"})


@dataclass
class RangesConfig:
    """Between what domain randomisation draws for each episode; the delay's end says what every agent remembers."""

    friction: list[float] = field(default_factory=lambda: [0.5, 1.5])
    damping: list[float] = field(default_factory=lambda: [0.5, 2.0])
    gain: list[float] = field(default_factory=lambda: [0.5, 1.5])
    delay: list[float] = field(default_factory=lambda: [0.0, 0.04])
    dead_zone: list[float] = field(default_factory=lambda: [0.0, 0.3])


@dataclass
class Settings:
    """Settings of one robot's comparison."""

    task: str = field(default=REQUIRED, metadata={"help": "a robot of wm_gym.physics.tasks"})
    output: str = field(default=REQUIRED, metadata={"help": "folder for logs, worlds, agents, result.json, chart"})
    minutes: float = field(default=10.0, metadata={"help": "of the robot's logs"})
    rounds: int = field(
        default=1, metadata={"help": "times that it is logged, alike long; from the second on what was learnt acts"}
    )
    worlds: list[str] = field(default_factory=lambda: list(WORLDS), metadata={"help": "where agents are trained"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4], metadata={"help": "of the agents"})
    steps: int = field(default=300_000, metadata={"help": "of each agent in its world"})
    episodes: int = field(default=50, metadata={"help": "on the robot for each agent"})
    limit: int | None = field(default=None, metadata={"help": "steps of an episode; null: the task's own"})
    algorithm: str = field(default="ppo", metadata={"help": "ppo or sac"})
    num_envs: int = field(default=16, metadata={"help": "rollouts side by side, in every world"})
    settings: dict[str, Any] = field(default_factory=dict, metadata={"help": "of the SB3 algorithm, replacing ours"})
    imagination: PlayConfig = field(default_factory=PlayConfig)
    secret: SecretConfig = field(default_factory=SecretConfig)
    ranges: RangesConfig = field(default_factory=RangesConfig)
    behaviours: dict[str, float] = field(
        default_factory=dict, metadata={"help": "who acts in the logs, NAME=SHARE; {}: random and smooth, half each"}
    )
    policies: dict[str, str] = field(default_factory=dict, metadata={"help": "policies.NAME=FOLDER, for behaviours"})
    updates: int = field(default=12_000, metadata={"help": "of the world model's fit"})
    batch_size: int = field(default=320, metadata={"help": "of the fit"})
    longest_horizon: int = field(default=16, metadata={"help": "of the fit; 1 for robots that fall within few steps"})
    workers: int = field(default=0, metadata={"help": "agents trained at a time; 0: one per core"})


def main(config: Settings) -> None:
    """Train the same agent in five worlds, and judge each on a robot that is not what its model says."""
    output, task = Path(config.output), check(config)
    # As a default of the setting, what is given would only join it.
    config = replace(config, behaviours=config.behaviours or {"random": 0.5, "smooth": 0.5})
    torch.set_num_threads(1)
    secret = Alteration(**asdict(config.secret))
    ranges = Ranges(**{name: (low, high) for name, (low, high) in asdict(config.ranges).items()})
    memory = max(1, -int(-ranges.delay[1] // task.control_dt))
    announce(config, task, secret, ranges)
    claim(config, output)
    logs = log(config, task, secret, memory, output)
    dataset = import_logs(logs, task, memory, output / "data", command_line())
    places: dict[str, Alteration | Ranges | Path] = {"nominal": Alteration(), "randomised": ranges, "oracle": secret}
    if "imagination" in config.worlds:
        places["imagination"] = output / "model"
        train(fit_config(config, dataset.folder, output / "model"))
    identified = find(task, logs, output / "identified.json") if "identified" in config.worlds else {}
    if "alteration" in identified:
        places["identified"] = Alteration(**identified["alteration"])
    setting = partial(training, config, task, secret, memory, dataset.folder)
    trainings = [
        setting(world, seed, output / "agents" / f"{world}_{seed}", places[world])
        for seed in config.seeds
        for world in config.worlds
        if world in places
    ]
    with tqdm(total=len(trainings), desc="agents", unit="agent") as bar:

        def progress(training: Training) -> None:
            bar.set_postfix_str(f"last: {training.name}", refresh=False)
            bar.update()

        train_all(trainings, config.workers or os.cpu_count() or 1, progress)
    rows = compare_worlds(sorted(trainings, key=lambda training: list(WORLDS).index(training.world)))
    write_simulators_chart(output / "returns.svg", rows, task.name)
    result = {
        "task": task.name,
        "settings": determined(config) | {"seeds": config.seeds, "worlds": config.worlds},
        "secret": secret.to_dict() | {"delay_steps": secret.delay_steps(simulation_step(task))},
        "in_the_ranges": ranges.holds(secret),
        "memory": memory,
        "logs": {"minutes": dataset.num_steps * task.control_dt / 60, "steps": dataset.num_steps},
        "identified": identified,
        "table": rows,
        "command": command_line(),
        "machine": describe_machine(),
        "versions": installed_versions(),
    }
    write_json(output / "result.json", result)
    show(rows, identified, task)
    print(f"chart: {output / 'returns.svg'}\nbenchmark: {output}")


def training(
    config: Settings,
    task: TaskSpec,
    secret: Alteration,
    memory: int,
    dataset: Path,
    world: str,
    seed: int,
    folder: Path,
    trained_in: Alteration | Ranges | Path,
) -> Training:
    """One agent, the same in every world."""
    return Training(
        world=world,
        seed=seed,
        folder=folder,
        task=task,
        secret=secret,
        memory=memory,
        dataset=dataset,
        trained_in=trained_in,
        algorithm=config.algorithm,
        steps=config.steps,
        num_envs=config.num_envs,
        episodes=config.episodes,
        settings=config.settings,
        imagination=asdict(config.imagination),
    )


def fit_config(config: Settings, dataset: Path, model: Path) -> TrainConfig:
    """How the world model is fitted."""
    return TrainConfig(
        dataset=str(dataset),
        output=str(model),
        threads=1,
        updates=config.updates,
        batch_size=config.batch_size,
        longest_horizon=config.longest_horizon,
    )


def check(config: Settings) -> TaskSpec:
    """The robot, once the settings are such as can be run."""
    unknown = [world for world in config.worlds if world not in WORLDS]
    if unknown or not config.worlds:
        raise ConfigError(f"worlds={config.worlds}: some of {', '.join(WORLDS)}")
    if config.episodes < 2 or not config.seeds or not config.minutes > 0:
        raise ConfigError("episodes must be at least 2, seeds at least one, and minutes above 0")
    if any(len(ends) != 2 for ends in asdict(config.ranges).values()):
        raise ConfigError("ranges: each is [lowest, highest]")
    if min(config.num_envs, config.steps, config.rounds) < 1:
        raise ConfigError(f"steps={config.steps}, num_envs={config.num_envs}, rounds={config.rounds}: at least 1")
    if config.algorithm not in STEP_SECONDS:
        raise ConfigError(f"algorithm={config.algorithm!r}: {' or '.join(STEP_SECONDS)}")
    fit_config(config, Path(), Path()).fit_config()
    ImaginationConfig(**asdict(config.imagination)).check(("state",))
    return task_spec(config.task, max_episode_steps=config.limit, cameras=())


def determined(config: Settings) -> dict[str, Any]:
    """The settings on which every number depends."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return {name: value for name, value in plain.items() if name not in BESIDE}


def claim(config: Settings, output: Path) -> None:
    """Mark the folder as this comparison's, or refuse another's."""
    path, mine = output / "settings.json", determined(config)
    if path.exists() and (theirs := {"rounds": 1} | read_json(path)) != mine:
        other = next(name for name in mine if theirs.get(name) != mine[name])
        raise ConfigError(f"{output} holds a comparison with {other}={theirs.get(other)}: choose another output")
    write_json(path, mine)


def announce(config: Settings, task: TaskSpec, secret: Alteration, ranges: Ranges) -> None:
    """Say what will be done, and what it will cost."""
    robot, count = make_altered(task, ranges, 1), 300
    robot.reset(seed=0)
    robot.action_space.seed(0)
    started = time.process_time()
    for _ in range(count):
        _, _, terminated, truncated, _ = robot.step(robot.action_space.sample())
        if terminated or truncated:
            robot.reset()
    pace = (time.process_time() - started) / count
    robot.close()
    agents = len(config.worlds) * len(config.seeds) + config.rounds - 1
    fits = config.rounds - 1 + ("imagination" in config.worlds)
    fit = fits * config.updates * UPDATE_SECONDS
    tries = min(task.max_episode_steps, 1000) * config.episodes * pace
    own, shared = STEP_SECONDS[config.algorithm]
    each = config.steps * (own + shared / config.num_envs + pace) + tries
    step = simulation_step(task)
    print(
        f"{task.name}: {config.minutes:g} minutes of logs ({steps_of(config, task):,} steps) of a robot with secrets:"
    )
    print("  " + ", ".join(f"{name} {value:g}" for name, value in secret.to_dict().items()))
    late = f"{secret.delay_steps(step)} simulation steps of {step:g} s"
    print(f"  the delay is {late}; an action lasts {task.control_dt:g} s")
    missed = [entry.name for entry in fields(secret) if entry.name not in ranges.holds(secret)]
    print(f"  ranges that randomisation draws from hold every secret{' but ' + ', '.join(missed) if missed else ''}")
    print(f"fits: {fit / 60:.0f} minutes of one core; {agents} agents of about {each / 60:.1f}: ", end="")
    print(f"{(fit + agents * each) / 60:.0f} minutes of one core in all, less what is finished already", flush=True)


def steps_of(config: Settings, task: TaskSpec) -> int:
    """Steps in so many minutes."""
    return round(config.minutes * 60 / task.control_dt)


def simulation_step(task: TaskSpec) -> float:
    """Seconds."""
    env: Any = make_physics(task).unwrapped
    timestep = float(env.model.opt.timestep)
    env.close()
    return timestep


def log(config: Settings, task: TaskSpec, secret: Alteration, memory: int, output: Path) -> Path:
    """Let the robot act, and keep its logs; in later rounds it is the agent of what the logs so far have taught."""
    folder = output / "logs"
    policies: dict[str, LoadPolicy] = {name: partial(load_policy, place) for name, place in config.policies.items()}
    recipe = Recipe(round(steps_of(config, task) / config.rounds), 0, config.behaviours, policies)
    recipe.quotas()
    _log_round(task, secret, recipe, memory, folder, 0)
    acting_in = {number: (f"learnt_{number}", f"noisy_learnt_{number}") for number in range(2, config.rounds + 1)}
    for number, (name, noisy) in acting_in.items():
        place = output / "rounds" / str(number)
        # Called again, it finds the logs of later rounds there.
        later = [behaviour for other, names in acting_in.items() if other >= number for behaviour in names]
        dataset = import_logs(folder, task, memory, place / "data", command_line(), later)
        train(fit_config(config, dataset.folder, place / "model"))
        agent = training(
            config, task, secret, memory, dataset.folder, "imagination", number, place / "agent", place / "model"
        )
        train_all([replace(agent, episodes=2)], 1, lambda done: None)
        acting = partial(load_policy, place / "agent" / "policy")
        shares = {name: 0.5, noisy: 0.5}
        _log_round(task, secret, Recipe(recipe.num_steps, 0, shares, {name: acting}), memory, folder, memory)
    return folder


def _log_round(task: TaskSpec, secret: Alteration, recipe: Recipe, memory: int, folder: Path, observed: int) -> None:
    with tqdm(total=recipe.num_steps, desc="log", unit="step") as bar:
        record_logs(task, secret, recipe, memory, folder, lambda steps: bar.update(steps - bar.n), observed)


def find(task: TaskSpec, logs: Path, path: Path) -> dict[str, Any]:
    """What mujoco.sysid makes of the logs, or why it can make nothing."""
    if not path.exists():
        env = make_physics(task)
        env.reset(seed=0)
        joints = [len(part) for part in get_physics_state(env)]
        env.close()
        try:
            motions = read_motions(logs, (joints[0], joints[1]), task.action_space.size)
            found = identify(task, motions)
        except (ConfigError, DataError) as error:
            print(f"identified: not possible: {error}")
            return {"impossible": str(error)}  # not kept: an installation mends it
        plain = {name: getattr(found, name) for name in ("error_before", "error")}
        write_json(path, {"alteration": found.alteration.to_dict(), "sought": list(found.sought), **plain})
    found = read_json(path)
    said = ", ".join(f"{name} {found['alteration'][name]:.3g}" for name in (*found["sought"], "delay"))
    print(f"mujoco.sysid found {said}; error {found['error_before']:.3g} -> {found['error']:.3g} standard deviations")
    return found


def show(rows: Sequence[Mapping[str, Any]], identified: Mapping[str, Any], task: TaskSpec) -> None:
    """One line for each world."""
    print(f"\n{task.name}: return on the robot, by where the agent was trained")
    head = ("return on the robot", "minus nominal", "minus randomised", "share of the gain")
    print(f"{'trained in':<32}" + "".join(f"{name:>26}" for name in head) + f"{'in its own world':>18}")
    for row in rows:
        cells = [_interval(row[name]) for name in ("return", "minus_nominal", "minus_randomised", "share")]
        own = "-" if row["own_return"] is None else shown(row["own_return"])
        print(f"{row['name']:<32}" + "".join(f"{cell:>26}" for cell in cells) + f"{own:>18}")
    if "impossible" in identified:
        print(f"{WORLDS['identified']:<32}  not possible: {identified['impossible']}")
    print("share of the gain: 0 is nominal MuJoCo, 1 the robot itself; empty where the robot itself gained nothing\n")


def _interval(found: Mapping[str, float] | None) -> str:
    return "-" if found is None else shown_interval(found)


if __name__ == "__main__":
    run_program(main, Settings)
