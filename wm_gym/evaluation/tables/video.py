"""The table of camera models: how far off a robot is in imagined pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wm_gym.errors import DataError
from wm_gym.evaluation.tables.result_files import made_by, read_each

HORIZONS = (1, 10, 25, 50)
ROWS = {
    "imagination": "imagined frames",
    "shuffled actions": "imagined under other actions",
    "last frame": "the last frame shown",
    "mean frame": "the mean frame",
    "true frames": "true frames: the read-out's own error",
}


def render_video(results: Path) -> str:
    """Some rows for each robot: how far off it is in imagined pictures, and in those of who knows no dynamics.

    Raises:
        DataError: there is no video benchmark to show, or a file is damaged.
    """

    def read(content: Mapping[str, Any]) -> tuple[str, str]:
        rows = []
        for name, said in ROWS.items():
            cells = [content["task"], content["place"], said]
            for horizon in HORIZONS:
                found = content["by_horizon"][str(horizon)][name]["position"]
                cells.append(f"{found['value']:.3g} [{found['low']:.3g}, {found['high']:.3g}] {content['unit']}")
            rows.append(f"| {' | '.join(cells)} |")
        return "\n".join(rows), f"{made_by(content)}."

    found = read_each(results, "video", "a video benchmark", read)
    if not found:
        raise DataError(f"{results} holds no video_*.json; run benchmarks/measure_video.py")
    rows, made = zip(*found, strict=True)
    head = " | ".join(["robot", "what is read", "from", *(f"after {horizon} steps" for horizon in HORIZONS)])
    return "\n".join(["", f"| {head} |", "|---" * 3 + "|---:" * len(HORIZONS) + "|", *rows, "", made[0], ""])
