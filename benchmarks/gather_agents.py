"""Gather finished agents into one result file, from which the README's table and the report's control are read.

python benchmarks/gather_agents.py agents=[outputs/reacher/agent_0,outputs/reacher/control_0] \
    output=benchmarks/results/transfer_reacher.json
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wm_gym.config import REQUIRED, run_program
from wm_gym.data.episodes import Dataset, open_dataset
from wm_gym.errors import ConfigError, DataError
from wm_gym.evaluation.identity import describe_machines, seeded_command
from wm_gym.evaluation.statistics import mean_interval
from wm_gym.files import read_json, write_json
from wm_gym.policies.imitation import best_episodes


@dataclass
class GatherConfig:
    """Settings of one table."""

    agents: list[str] = field(
        default=REQUIRED, metadata={"help": "folders of agents/train_agent.py or of a camera agent's program"}
    )
    output: str = field(default=REQUIRED, metadata={"help": "JSON file to write"})
    logs: str | None = field(
        default=None, metadata={"help": "dataset folder that they learnt from, whose best third gets a row"}
    )


def main(config: GatherConfig) -> None:
    """Gather finished agents into one result file."""
    if not config.agents:
        raise ConfigError("agents=[]: name at least one agent folder")
    results = [_read(Path(folder)) for folder in config.agents]
    tasks = sorted({result["task"] for result in results})
    if len(tasks) > 1:
        raise ConfigError(f"agents of several robots ({', '.join(tasks)}) do not share a table")
    machine = describe_machines([result["machine"] for result in results])
    rows = [_row(result) for result in sorted(results, key=lambda r: (r["world"], _method(r), r["seed"]))]
    if config.logs is not None:
        rows.append(_logged(open_dataset(config.logs), tasks[0]))
    write_json(Path(config.output), {"command": "; ".join(_commands(results)), "machine": machine, "rows": rows})
    for row in rows:
        print(f"{row['method']:<36} seed {row['seed']:<2} {row['physical_return']:>10.2f}")
    print(f"results: {config.output}")


def _read(folder: Path) -> dict[str, Any]:
    result = read_json(folder / "result.json")
    if not result.get("trial"):
        raise DataError(f"{folder}: was not tried in the physics; train it again with a robot that has a simulator")
    return result


def _commands(results: list[dict[str, Any]]) -> list[str]:
    """One command for each method."""
    methods: dict[str, list[tuple[int, str]]] = {}
    for result in results:
        methods.setdefault(_method(result), []).append((int(result["seed"]), str(result["command"])))
    return [seeded_command(runs) for _, runs in sorted(methods.items())]


def _method(result: dict[str, Any]) -> str:
    """Algorithm and place, how it began, and what was done about uncertainty; or as the agent says itself."""
    if "method" in result:
        return str(result["method"])
    if result["world"] != "imagination":
        return f"{result['algorithm'].upper()} in MuJoCo"
    settings = result["settings"]
    kept = {"report": "", "omit": "", "truncate": ", truncated", "penalize": f", penalized by {settings['penalty']:g}"}
    share = settings.get("imitate_share", 1 / 3)
    best = f"the best {'third' if share == 1 / 3 else f'{share:.0%}'} of the logs"
    if result["steps"] == 0:
        return f"imitation of {best} alone"
    begun = f", begun as {best}" if settings.get("imitate") else ""
    return f"{result['algorithm'].upper()} in imagination{begun}{kept[settings['uncertainty']]}"


def _logged(dataset: Dataset, task: str) -> dict[str, Any]:
    """What acted in the best third of the logged steps, as a row of its own; its interval is that of these episodes."""
    if dataset.task.name != task:
        raise ConfigError(f"logs: {dataset.folder} is of {dataset.task.name}, the agents of {task}")
    returns = [
        float(episode.rewards.sum())
        for episode in best_episodes(list(dataset.episodes()), dataset.task.max_episode_steps)
    ]
    mean = mean_interval(np.asarray(returns), np.random.default_rng(0))
    return {
        "method": "what acted in the best third of the logs",
        "world": "logs",
        "seed": "",
        "real_steps": dataset.num_steps,
        "training_steps": 0,
        "physical_return": mean.value,
        "physical_low": mean.low,
        "physical_high": mean.high,
        "imagined_return": None,
        "wall_seconds": None,
        "episode_returns": [round(value, 4) for value in returns],
    }


def _row(result: dict[str, Any]) -> dict[str, Any]:
    figures = result["trial"][result["algorithm"]]
    imagined = figures["imagined"] if result["world"] == "imagination" else None
    filtering = figures.get("filtering_costs")
    return {
        "method": _method(result),
        "world": result["world"],
        "seed": result["seed"],
        "real_steps": result["real_steps"],
        "training_steps": result["steps"],
        "physical_return": figures["physical"]["value"],
        "physical_low": figures["physical"]["low"],
        "physical_high": figures["physical"]["high"],
        "imagined_return": imagined["value"] if imagined else None,
        "wall_seconds": result["wall_seconds"],
        "episode_returns": figures["physical_returns"],
        **({} if filtering is None else {"filtering_costs": filtering}),
    }


if __name__ == "__main__":
    run_program(main, GatherConfig)
