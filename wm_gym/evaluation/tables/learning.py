"""The table of few real steps: what a robot learns with a world model, beside SAC in MuJoCo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wm_gym.errors import DataError
from wm_gym.evaluation.tables.cells import duration, rounded
from wm_gym.evaluation.tables.result_files import read_each


def render_learning(results: Path) -> str:
    """One row for each robot: what few real steps and a world model give, beside what SAC gets from more of them.

    Raises:
        DataError: there is no comparison to show, or a file is damaged.
    """

    def read(content: Mapping[str, Any]) -> tuple[str, str]:
        inside, control, excess = content["inside"], content["control"], content["excess"]
        cells = [content["task"], _program(content["commands"][0])]
        for side in (inside, control):
            cells += [f"{side['real_steps']:,}", str(len(side["seeds"])), rounded(side["return"])]
            cells.append(duration(side["wall_seconds"]))
        cells += [rounded(content["minus_control"]), f"{excess[0]['value']:.3g} -> {rounded(excess[-1])}"]
        made = ", against ".join(f"`{command}`" for command in content["commands"])
        return f"| {' | '.join(cells)} |", f"{content['task']}: {made} on {content['machine']}."

    found = read_each(results, "learning", "a comparison of learning", read)
    if not found:
        raise DataError(f"{results} holds no learning_*.json; run benchmarks/compare_learning.py")
    columns = ["real steps", "seeds", "return", "time"]
    head = [
        "robot",
        "learnt by",
        *columns,
        *(f"SAC's {name}" for name in columns),
        "minus SAC's",
        "imagined too much, first -> last",
    ]
    rows, made = zip(*found, strict=True)
    rule = "|---|---" + "|---:" * (len(head) - 2) + "|"
    return "\n".join(["", f"| {' | '.join(head)} |", rule, *rows, "", "\n\n".join(made), ""])


def _program(command: str) -> str:
    """The name of the program that a command runs."""
    return next((Path(word).stem for word in command.split() if word.endswith(".py")), command)
