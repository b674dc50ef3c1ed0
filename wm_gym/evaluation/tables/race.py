"""The table of races: wall seconds to the same return, through imagination and in MuJoCo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wm_gym.evaluation.tables.result_files import made_by, read_each


def render_race(results: Path) -> str:
    """One row for each race: wall seconds to the same return, through imagination and in MuJoCo.

    Raises:
        DataError: a file is damaged.
    """

    def read(content: Mapping[str, Any]) -> tuple[str, str]:
        rows = []
        for race in content["races"]:
            parts, other = race["seconds"], race["physics_seconds"]
            low, high = race["interval"]
            cells = [content["task"], str(race["seed"]), f"{race['return']:.3g} [{low:.3g}, {high:.3g}]"]
            cells += [f"{parts[name]:.0f} s" for name in ("recording", "fitting", "learning")]
            cells += [f"{sum(parts.values()):.0f} s", "not reached" if other is None else f"{other:.0f} s"]
            rows.append(f"| {' | '.join(cells)} |")
        return "\n".join(rows), made_by(content)

    found = read_each(results, "race", "a race", read)
    if not found:
        return "\nNot yet measured: `python benchmarks/race_to_return.py task=reacher output=outputs/reacher/race`.\n\n"
    rows, made = zip(*found, strict=True)
    head = "robot | seed | return in MuJoCo | recording | fitting | learning | together | PPO in MuJoCo"
    return "\n".join(["", f"| {head} |", "|---" * 3 + "|---:" * 5 + "|", *rows, "", f"{made[-1]}.", ""])
