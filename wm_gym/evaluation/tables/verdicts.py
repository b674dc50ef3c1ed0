"""The table of reports: for what each imagination may be used, and the figures that say so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wm_gym.errors import DataError
from wm_gym.evaluation.tables.cells import duration
from wm_gym.evaluation.tables.result_files import made_by, read_each


def render_verdicts(results: Path) -> str:
    """One row for each report: its verdicts, and the figures behind them that are asked for most.

    Raises:
        DataError: there is no report to show, or a file is damaged.
    """

    def read(content: Mapping[str, Any]) -> tuple[str, str]:
        gates, said = content["gates"], content["verdicts"]
        cells = [content["task"], str(content["panel"])]
        cells += [said[use]["verdict"] for use in ("rank_policies", "train_policy", "plan", "augment_data")]
        for name in ("spearman", "pearson", "regret", "mmrv", "planning_gap"):
            cells.append(_judged(gates[name]) if name in gates else "not tested")
        cells.append(duration(content["wall_seconds"]))
        return f"| {' | '.join(cells)} |", f"{made_by(content)}."

    found = read_each(results, "report", "a report's summary", read)
    if not found:
        raise DataError(f"{results} holds no report_*.json; run benchmarks/compare_physics.py")
    head = "robot | policies | rank | train | plan | augment | Spearman | Pearson | regret | MMRV | planning gap | time"
    rows, made = zip(*found, strict=True)
    return "\n".join(["", f"| {head} |", "|---|---:" + "|---" * 4 + "|---:" * 6 + "|", *rows, "", made[0], ""])


def _judged(gate: Mapping[str, Any]) -> str:
    """A figure with its interval and the limit that was asked for."""
    asked = f">= {gate['at_least']:.2g}" if gate["at_most"] is None else f"<= {gate['at_most']:.2g}"
    if gate["value"] is None:
        return f"none ({asked})"
    return f"{gate['value']:.3g} [{gate['low']:.3g}, {gate['high']:.3g}] ({asked})"
