"""The table of finished agents: what each training seed earns in MuJoCo and in imagination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wm_gym.evaluation.statistics import clustered_mean_interval
from wm_gym.evaluation.tables.cells import duration, interval, words

SEED = 0
"""Of the bootstrap, so that the same results always give the same table."""


def render_table(content: Mapping[str, Any]) -> str:
    """One row for each training seed, a mean for each method with several, and the command and machine under it."""
    lines = [
        "",
        "| method | seed | real steps | return in MuJoCo | return in imagination | wall time |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    methods: dict[str, list[Mapping[str, Any]]] = {}
    for row in content["rows"]:
        methods.setdefault(row["method"], []).append(row)
    for method, rows in methods.items():
        lines += [_line(method, str(row["seed"]), row) for row in rows]
        if len(rows) > 1:
            lines.append(_mean_line(method, rows))
    lines += ["", f"`{content['command']}` on {words(content['machine'])}.", ""]
    if costs := [row["filtering_costs"] for row in content["rows"] if "filtering_costs" in row]:
        said = ", ".join(f"{cost['value']:.1%} [{cost['low']:.1%}, {cost['high']:.1%}]" for cost in costs)
        lines += [f"Filtering drawn frames instead of imagining on costs {said} of the imagined return.", ""]
    return "\n".join(lines)


def _line(method: str, seed: str, row: Mapping[str, Any]) -> str:
    physical = interval(row["physical_return"], row["physical_low"], row["physical_high"])
    imagined = row.get("imagined_return")
    cells = [
        method,
        seed,
        f"{row['real_steps']:,}",
        physical,
        "" if imagined is None else f"{imagined:.2f}",
        duration(row.get("wall_seconds")),
    ]
    return f"| {' | '.join(cells)} |"


def _mean_line(method: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The mean over training seeds; its interval resamples seeds, then the episodes of each."""
    found = clustered_mean_interval(
        [np.array(row["episode_returns"], dtype=np.float64) for row in rows], np.random.default_rng(SEED)
    )
    imagined = [float(row["imagined_return"]) for row in rows if row.get("imagined_return") is not None]
    steps = {row["real_steps"] for row in rows}
    cells = [
        method,
        f"mean of {len(rows)}",
        f"{steps.pop():,}" if len(steps) == 1 else "",
        interval(found.value, found.low, found.high),
        f"{np.mean(imagined):.2f}" if len(imagined) == len(rows) else "",
        "",
    ]
    return "| " + " | ".join(f"**{cell}**" if cell else "" for cell in cells) + " |"
