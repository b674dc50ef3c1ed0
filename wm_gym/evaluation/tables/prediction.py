"""The zoo's table: how well each robot is predicted, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wm_gym.errors import DataError
from wm_gym.evaluation.tables.cells import to_hundredths
from wm_gym.evaluation.tables.result_files import made_by, read_each

HORIZONS = (1, 10, 50, 100)


def render_zoo(results: Path) -> str:
    """One row for each robot: how far off the predictions are, and how long they hold, beside the floor and the rival.

    Raises:
        DataError: there is no prediction to show, or a file is damaged.
    """
    rows = read_each(results, "prediction", "a prediction benchmark", lambda content: (_zoo_line(content), content))
    if not rows:
        raise DataError(f"{results} holds no prediction_*.json; run benchmarks/measure_prediction.py")
    lines = [
        "",
        f"| robot | fits | {' | '.join(f'nRMSE at {horizon}' for horizon in HORIZONS)} | best naive at 50 "
        "| holds for | MuJoCo's floor | share of it | mbrl-lib | times that |",
        "|---|---:|" + "---:|" * (len(HORIZONS) + 6),
    ]
    return "\n".join([*lines, *(line for line, _ in rows), "", f"{made_by(rows[0][1])}.", ""])


def _zoo_line(content: Mapping[str, Any]) -> str:
    errors = {row["horizon"]: row["errors"] for row in content["table"]}
    naive = [errors[50][name]["value"] for name in ("persistence", "velocity", "arx")] if 50 in errors else []
    times = {
        row["kind"]: row["valid_time"]["mean"]
        for row in content["predictors"]
        if row["kind"] in ("model", "rival", "floor")
    }
    ratios = {row["kind"]: content["valid_time_ratios"].get(row["id"]) for row in content["predictors"]}
    held = times["model"]
    cells = [
        content["task"],
        str(next(row["seeds"] for row in content["predictors"] if row["kind"] == "model")),
        *(f"{errors[h]['wm_gym']['value']:.3f}" if h in errors else "" for h in HORIZONS),
        f"{min(naive):.2f}" if naive else "",
        f"{held['value']:.0f} [{held['low']:.0f}, {held['high']:.0f}]",
        f"{times['floor']['value']:.0f}",
        to_hundredths(ratios["floor"]),
        f"{times['rival']['value']:.0f}" if "rival" in times else "not yet measured",
        to_hundredths(ratios["rival"]) if "rival" in times else "",
    ]
    return f"| {' | '.join(cells)} |"
