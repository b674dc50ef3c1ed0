"""The table of simulators: what agents of several worlds earn on a robot with secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wm_gym.evaluation.simulators import share_of_oracle
from wm_gym.evaluation.tables.result_files import read_each


def render_simulators(results: Path) -> str:
    """One row for each robot and world, and under them what each robot's secrets were and what was found of them.

    Raises:
        DataError: a file is damaged.
    """

    def read(content: Mapping[str, Any]) -> tuple[list[str], str]:
        oracle = next((row["seed_returns"] for row in content["table"] if row["world"] == "oracle"), None)
        return [_world_line(content["task"], row, oracle) for row in content["table"]], _secrets_line(content)

    found = read_each(results, "simulators", "a comparison of simulators", read)
    if not found:
        return "\nNot yet measured.\n"
    lines = [
        "",
        "| robot | trained in | seeds | return on the robot | share of the robot's own | minus nominal "
        "| minus randomised | share of the gain |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [line for rows, _ in found for line in rows]
    return "\n".join([*lines, *(line for _, below in found for line in ("", below)), ""])


def _world_line(robot: str, row: Mapping[str, Any], oracle: Sequence[float] | None) -> str:
    found = None
    if oracle is not None and row["world"] != "oracle":
        found = share_of_oracle(row["seed_returns"], oracle, np.random.default_rng(0))
    own = None if found is None else found.to_dict()
    digits = 2 if abs(row["return"]["value"]) < 100 else 0
    figures = {"return": digits, "own": 2, "minus_nominal": digits, "minus_randomised": digits, "share": 2}
    cells = [
        "" if figure is None else f"{figure['value']:.{d}f} [{figure['low']:.{d}f}, {figure['high']:.{d}f}]"
        for name, d in figures.items()
        for figure in [own if name == "own" else row[name]]
    ]
    return f"| {' | '.join([robot, row['name'], str(row['seeds']), *cells])} |"


def _secrets_line(content: Mapping[str, Any]) -> str:
    """What was hidden, in what was found, and how to do it again."""
    secret, found, machine = content["secret"], content["identified"], content["machine"]
    kept = ", ".join(f"{name.replace('_', ' ')} {secret[name]:g}" for name in secret if name != "delay_steps")
    told = ""
    if "alteration" in found:
        named = ", ".join(f"{name} {found['alteration'][name]:.3g}" for name in (*found["sought"], "delay"))
        told = f" `mujoco.sysid` found {named}."
    elif "impossible" in found:
        told = f" `mujoco.sysid` could not be used: {found['impossible']}."
    return (
        f"{content['task']}: {content['logs']['minutes']:.3g} minutes of logs; its secrets: {kept}.{told} "
        f"`{content['command']}` on {machine['processor']}, {machine['cores']} cores."
    )
