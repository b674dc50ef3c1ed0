"""Compare how many real steps a robot takes to be learnt: with a world model, and by SAC in MuJoCo.

python benchmarks/compare_learning.py inside=[outputs/reacher/rounds_0] control=[outputs/reacher/sac_0] \
    output=benchmarks/results/learning_reacher.json

Seeds that are not finished yet are left out by naming the finished ones; the table says how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from wm_gym.config import REQUIRED, run_program
from wm_gym.errors import ConfigError
from wm_gym.evaluation.charts import shown_interval, write_figure
from wm_gym.evaluation.learning import compare_again, compare_learning, read_learner
from wm_gym.evaluation.learning_chart import draw_learning
from wm_gym.files import write_json


@dataclass
class Settings:
    """Settings of one robot's comparison."""

    inside: list[str] = field(
        default=REQUIRED, metadata={"help": "folders of agents/train_rounds.py or agents/train_dyna.py"}
    )
    control: list[str] = field(
        default=REQUIRED,
        metadata={"help": "folders of agents/train_agent.py world=physics measure_every=N; or an earlier output's"},
    )
    output: str = field(default=REQUIRED, metadata={"help": "JSON file to write; the chart lies beside it, .svg"})


def main(settings: Settings) -> None:
    """Compare how many real steps a robot takes to be learnt: with a world model, and by SAC in MuJoCo."""
    if not settings.inside or not settings.control:
        raise ConfigError(f"inside={settings.inside}, control={settings.control}: at least one folder each")
    if not settings.output.endswith(".json"):
        raise ConfigError(f"output={settings.output}: a file ending in .json is needed")
    inside = [read_learner(Path(folder)) for folder in settings.inside]
    if settings.control[0].endswith(".json"):
        if len(settings.control) > 1:
            raise ConfigError(f"control={settings.control}: one earlier output alone, or folders")
        values = compare_again(inside, Path(settings.control[0]))
    else:
        values = compare_learning(inside, [read_learner(Path(folder)) for folder in settings.control])
    path = Path(settings.output)
    write_json(path, values)
    write_figure(path.with_suffix(".svg"), draw_learning(values, values["task"]))
    for side, name in (("inside", "with a world model"), ("control", "SAC in MuJoCo")):
        found = values[side]
        steps = f"{found['real_steps']:>9,} real steps, {len(found['seeds'])} seeds"
        print(f"{name:<20}{steps}: {shown_interval(found['return'])}")
    print(f"{'difference':<20}{shown_interval(values['minus_control'])}")
    print(f"{'imagined too much':<20}{shown_interval(values['excess'][-1])}")
    print(f"chart: {path.with_suffix('.svg')}\nresults: {path}")


if __name__ == "__main__":
    run_program(main, Settings)
