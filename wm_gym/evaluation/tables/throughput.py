"""The table of speed: imagination beside MuJoCo and mbrl-lib, and a camera model beside MuJoCo's camera."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wm_gym.evaluation.tables.result_files import made_by, read_each


def render_throughput(results: Path) -> str:
    """One row for each robot: how fast it is imagined, and how many times as fast as MuJoCo and mbrl-lib run.

    Raises:
        DataError: a file is damaged, or comes from ``quick=true``.
    """

    def read(content: Mapping[str, Any]) -> tuple[tuple[dict[str, str], str], str]:
        if content["quick"]:
            raise ValueError("it comes from quick=true, which measures too little to publish")
        row = _throughput_line(content), _camera_line(content["camera"])
        return row, f"{made_by(content)}, {content['threads']} threads"

    found = read_each(results, "throughput", "a throughput benchmark", read)
    if not found:
        return (
            "\nNot yet measured: `python benchmarks/measure_throughput.py model=hopper output=outputs/throughput`.\n\n"
        )
    rows, cameras = [row for (row, _), _ in found], [line for (_, line), _ in found if line]
    lines = ["", f"| {' | '.join(rows[0])} |", "|---|" + "---:|" * (len(rows[0]) - 1)]
    lines += [f"| {' | '.join(row.values())} |" for row in rows]
    return "\n".join([*lines, "", f"{found[-1][1]}.", *(f"\n{line}" for line in cameras), ""])


def _camera_line(found: Any) -> str:
    """How a camera model does beside MuJoCo and its camera; nothing where none was timed."""
    if found == "NOT MEASURED":
        return ""
    camera, figures, ratios = found["cameras"][0], found["figures"], found["ratios"]
    said = [
        f"{figure['name']} {figure['median']:,.0f} steps a second, {ratios[figure['name']]:.3g} times that"
        for figure in figures[:2]
    ]
    said += [f"{f['name']} {f['median']:,.0f} steps a second" for f in figures if f["name"] == "image, one environment"]
    return (
        f"A camera model of {found['robot']} at {figures[0]['rows']} environments, beside MuJoCo and its "
        f"{camera['width']} x {camera['height']} camera at its best: {'; '.join(said)}."
    )


def _throughput_line(content: Mapping[str, Any]) -> dict[str, str]:
    ours, latency, ratios = content["compared"][0], content["latency"], content["ratios"]
    omitted = [
        f["median"] for f in content["batches"] if (f["name"], f["rows"]) == ("gym.make_vec, omit", ours["rows"])
    ]
    best = {
        side: max(figure["rate"] for figure in content["learning"] if (figure["world"] == "imagination") == side)
        for side in (True, False)
    }
    cells = {
        "robot": content["task"],
        "one environment: p50, p99": f"{latency['p50_ms']:.2f}, {latency['p99_ms']:.2f} ms",
        f"steps/s, {ours['rows']:,} environments": f"{ours['median']:,.0f} [{ours['low']:,.0f}, {ours['high']:,.0f}]",
        "of the matrix rate": f"{content['fraction']:.2f}",
    }
    rivals = {
        "times `mujoco.rollout`": "mujoco.rollout",
        "times `mujoco.batch`": "mujoco.batch",
        "times Gymnasium's `make_vec`": "MuJoCo, make_vec at its best",
        "one environment, times MuJoCo": "one environment, MuJoCo make_vec sync",
        "times EnvPool": "EnvPool at its best",
        "times mbrl-lib, its size, all 7 nets": "mbrl-lib's ModelEnv, 7 x [4 x 200]",
    }
    without = {
        "omitted: times `mujoco.rollout`": "mujoco.rollout, uncertainty omitted",
        "omitted: times `make_vec`": "MuJoCo, make_vec at its best, uncertainty omitted",
        "omitted: times mbrl-lib, its size, one net a row each": "mbrl-lib's ModelEnv, 7 x [4 x 200], one a row",
    }
    cells |= {column: _times(ratios, name) for column, name in rivals.items()}
    cells["uncertainty omitted: steps/s"] = f"{omitted[0]:,.0f}" if omitted else "not measured"
    cells |= {column: _times(ratios, name) for column, name in without.items()}
    return cells | {"PPO, frames/s": f"{best[True]:,.0f} against {best[False]:,.0f}"}


def _times(ratios: Mapping[str, float], name: str) -> str:
    ratio = ratios.get(name)
    if ratio is None:
        return "not measured"
    return f"{ratio:.3g}" + ("" if ratio >= 1 or "mbrl" in name else " (MuJoCo wins)")
