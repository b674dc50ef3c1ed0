"""Write the tables of README.md anew from benchmarks/results/*.json; with --check, only say whether they are current.

A table stands between two comments, named after its file:  <!-- results:transfer_reacher -->  <!-- /results -->
The one named zoo has a row for every prediction_*.json, which benchmarks/measure_prediction.py writes; those named
calibration and changes have one for every calibration_*.json of benchmarks/measure_calibration.py, and simulators some
for every simulators_*.json of benchmarks/compare_simulators.py, and throughput one for every throughput_*.json of
benchmarks/measure_throughput.py, and race one for every race_*.json of benchmarks/race_to_return.py, and verdicts one
for every report_*.json of benchmarks/compare_physics.py, and video one for every video_*.json of
benchmarks/measure_video.py, and learning one for every learning_*.json of benchmarks/compare_learning.py.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wm_gym.errors import DataError, WorldModelError
from wm_gym.evaluation.charts import MINUS, shown
from wm_gym.evaluation.statistics import clustered_mean_interval
from wm_gym.files import replacing

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- results:(?P<name>[\w-]+) -->\n).*?(<!-- /results -->)", re.DOTALL)
ZOO_HORIZONS = (1, 10, 50, 100)
VIDEO_HORIZONS = (1, 10, 25, 50)
VIDEO_ROWS = {
    "imagination": "imagined frames",
    "shuffled actions": "imagined under other actions",
    "last frame": "the last frame shown",
    "mean frame": "the mean frame",
    "true frames": "true frames: the read-out's own error",
}
SEED = 0
"""Of the bootstrap, so that the same results always give the same table."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Update or check the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 where a table is out of date; write nothing")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    chosen = parser.parse_args(arguments)
    try:
        before = chosen.readme.read_text(encoding="utf-8")
        after = fill_tables(before, chosen.results)
    except (WorldModelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if chosen.check:
        if after != before:
            print(f"error: {chosen.readme} is out of date; run python benchmarks/update_readme.py", file=sys.stderr)
        return int(after != before)
    with replacing(chosen.readme) as partial:
        partial.write_text(after, encoding="utf-8")
    print(f"{len(MARKED.findall(after))} tables in {chosen.readme}")
    return 0


def fill_tables(text: str, results: Path) -> str:
    """Replace what stands between each pair of markers.

    Raises:
        DataError: a marker names a result that does not exist or is damaged.
    """

    def table(found: re.Match[str]) -> str:
        if found["name"] in OF_MANY:
            return f"{found[1]}{OF_MANY[found['name']](results)}{found[3]}"
        path = results / f"{found['name']}.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return f"{found[1]}{render_table(content)}{found[3]}"
        except OSError as error:
            known = ", ".join(sorted(p.stem for p in results.glob("*.json"))) or "none"
            raise DataError(f"results:{found['name']} has no file {path} (there are: {known})") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} does not hold a table's rows ({type(error).__name__}: {error})") from error

    return MARKED.sub(table, text)


def read_each(
    results: Path, kind: str, described: str, read: Callable[[Mapping[str, Any]], tuple[Any, Any]]
) -> list[tuple[Any, Any]]:
    """What is read from each result file of one kind, in the order of their names.

    Raises:
        DataError: a file is damaged, or not of its kind.
    """
    found = []
    for path in sorted(results.glob(f"{kind}_*.json")):
        try:
            found.append(read(json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
            raise DataError(f"{path} does not hold {described} ({type(error).__name__}: {error})") from error
    return found


def _made_by(content: Mapping[str, Any]) -> str:
    machine = content["machine"]
    return f"`{content['command']}`, and so on, on {machine['processor']}, {machine['cores']} cores"


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
    lines += ["", f"`{content['command']}` on {_words(content['machine'])}.", ""]
    if costs := [row["filtering_costs"] for row in content["rows"] if "filtering_costs" in row]:
        said = ", ".join(f"{cost['value']:.1%} [{cost['low']:.1%}, {cost['high']:.1%}]" for cost in costs)
        lines += [f"Filtering drawn frames instead of imagining on costs {said} of the imagined return.", ""]
    return "\n".join(lines)


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
        f"| robot | fits | {' | '.join(f'nRMSE at {horizon}' for horizon in ZOO_HORIZONS)} | best naive at 50 "
        "| holds for | MuJoCo's floor | share of it | mbrl-lib | times that |",
        "|---|---:|" + "---:|" * (len(ZOO_HORIZONS) + 6),
    ]
    return "\n".join([*lines, *(line for line, _ in rows), "", f"{_made_by(rows[0][1])}.", ""])


def render_calibration(results: Path, line: Callable[[Mapping[str, Any]], dict[str, str]]) -> str:
    """One row for each robot, its cells by the names of the columns; a column that some robot lacks is empty there.

    Raises:
        DataError: there is no calibration benchmark to show, or a file is damaged.
    """
    found = read_each(
        results, "calibration", "a calibration benchmark", lambda content: (line(content), _made_by(content))
    )
    if not found:
        raise DataError(f"{results} holds no calibration_*.json; run benchmarks/measure_calibration.py")
    rows, made = zip(*found, strict=True)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = ["", f"| {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) - 1)]
    lines += [f"| {' | '.join(row.get(column, '') for column in columns)} |" for row in rows]
    return "\n".join([*lines, "", f"{made[-1]}.", ""])


def render_simulators(results: Path) -> str:
    """One row for each robot and world, and under them what each robot's secrets were and what was found of them.

    Raises:
        DataError: a file is damaged.
    """

    def read(content: Mapping[str, Any]) -> tuple[list[str], str]:
        return [_world_line(content["task"], row) for row in content["table"]], _secrets_line(content)

    found = read_each(results, "simulators", "a comparison of simulators", read)
    if not found:
        return "\nNot yet measured.\n"
    lines = [
        "",
        "| robot | trained in | seeds | return on the robot | minus nominal | minus randomised | share of the gain |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    lines += [line for rows, _ in found for line in rows]
    return "\n".join([*lines, *(line for _, below in found for line in ("", below)), ""])


def _world_line(robot: str, row: Mapping[str, Any]) -> str:
    figures = [row[name] for name in ("return", "minus_nominal", "minus_randomised", "share")]
    digits = 2 if abs(row["return"]["value"]) < 100 else 0
    cells = [
        "" if figure is None else f"{figure['value']:.{d}f} [{figure['low']:.{d}f}, {figure['high']:.{d}f}]"
        for figure, d in zip(figures, (digits, digits, digits, 2), strict=True)
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


def render_throughput(results: Path) -> str:
    """One row for each robot: how fast it is imagined, and how many times as fast as MuJoCo and mbrl-lib run.

    Raises:
        DataError: a file is damaged, or comes from ``quick=true``.
    """

    def read(content: Mapping[str, Any]) -> tuple[tuple[dict[str, str], str], str]:
        if content["quick"]:
            raise ValueError("it comes from quick=true, which measures too little to publish")
        row = _throughput_line(content), _camera_line(content["camera"])
        return row, f"{_made_by(content)}, {content['threads']} threads"

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
        "times mbrl-lib, 7 nets of its size": "mbrl-lib's ModelEnv, 7 x [4 x 200]",
        "times mbrl-lib, 2 nets": "mbrl-lib's ModelEnv, 2 x [4 x 200]",
    }
    for column, name in rivals.items():
        ratio = ratios.get(name)
        won = "" if ratio is None or ratio >= 1 or "mbrl" in name else " (MuJoCo wins)"
        cells[column] = "not measured" if ratio is None else f"{ratio:.3g}{won}"
    return cells | {"PPO, frames/s": f"{best[True]:,.0f} against {best[False]:,.0f}"}


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
        return "\n".join(rows), _made_by(content)

    found = read_each(results, "race", "a race", read)
    if not found:
        return "\nNot yet measured: `python benchmarks/race_to_return.py task=reacher output=outputs/reacher/race`.\n\n"
    rows, made = zip(*found, strict=True)
    head = "robot | seed | return in MuJoCo | recording | fitting | learning | together | PPO in MuJoCo"
    return "\n".join(["", f"| {head} |", "|---" * 3 + "|---:" * 5 + "|", *rows, "", f"{made[-1]}.", ""])


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
        cells.append(_duration(content["wall_seconds"]))
        return f"| {' | '.join(cells)} |", f"{_made_by(content)}."

    found = read_each(results, "report", "a report's summary", read)
    if not found:
        raise DataError(f"{results} holds no report_*.json; run benchmarks/compare_physics.py")
    head = "robot | policies | rank | train | plan | augment | Spearman | Pearson | regret | MMRV | planning gap | time"
    rows, made = zip(*found, strict=True)
    return "\n".join(["", f"| {head} |", "|---|---:" + "|---" * 4 + "|---:" * 6 + "|", *rows, "", made[0], ""])


def render_learning(results: Path) -> str:
    """One row for each robot: what few real steps and a world model give, beside what SAC gets from more of them.

    Raises:
        DataError: there is no comparison to show, or a file is damaged.
    """

    def read(content: Mapping[str, Any]) -> tuple[str, str]:
        inside, control, excess = content["inside"], content["control"], content["excess"]
        cells = [content["task"]]
        for side in (inside, control):
            cells += [f"{side['real_steps']:,}", str(len(side["seeds"])), _rounded(side["return"])]
            cells.append(_duration(side["wall_seconds"]))
        cells += [_rounded(content["minus_control"]), f"{excess[0]['value']:.3g} -> {_rounded(excess[-1])}"]
        made = ", against ".join(f"`{command}`" for command in content["commands"])
        return f"| {' | '.join(cells)} |", f"{content['task']}: {made} on {content['machine']}."

    found = read_each(results, "learning", "a comparison of learning", read)
    if not found:
        raise DataError(f"{results} holds no learning_*.json; run benchmarks/compare_learning.py")
    columns = ["real steps", "seeds", "return", "time"]
    head = [
        "robot",
        *columns,
        *(f"SAC's {name}" for name in columns),
        "minus SAC's",
        "imagined too much, first -> last",
    ]
    rows, made = zip(*found, strict=True)
    rule = "|---" + "|---:" * (len(head) - 1) + "|"
    return "\n".join(["", f"| {' | '.join(head)} |", rule, *rows, "", "\n\n".join(made), ""])


def render_video(results: Path) -> str:
    """Some rows for each robot: how far off it is in imagined pictures, and in those of who knows no dynamics.

    Raises:
        DataError: there is no video benchmark to show, or a file is damaged.
    """

    def read(content: Mapping[str, Any]) -> tuple[str, str]:
        rows = []
        for name, said in VIDEO_ROWS.items():
            cells = [content["task"], content["place"], said]
            for horizon in VIDEO_HORIZONS:
                found = content["by_horizon"][str(horizon)][name]["position"]
                cells.append(f"{found['value']:.3g} [{found['low']:.3g}, {found['high']:.3g}] {content['unit']}")
            rows.append(f"| {' | '.join(cells)} |")
        return "\n".join(rows), f"{_made_by(content)}."

    found = read_each(results, "video", "a video benchmark", read)
    if not found:
        raise DataError(f"{results} holds no video_*.json; run benchmarks/measure_video.py")
    rows, made = zip(*found, strict=True)
    head = " | ".join(["robot", "what is read", "from", *(f"after {horizon} steps" for horizon in VIDEO_HORIZONS)])
    return "\n".join(["", f"| {head} |", "|---" * 3 + "|---:" * len(VIDEO_HORIZONS) + "|", *rows, "", made[0], ""])


def _coverage_line(content: Mapping[str, Any]) -> dict[str, str]:
    """Coverage, and how well doubt tells wrong predictions from right ones on recorded episodes."""
    found = content["modes"]["sampled"]
    cells = {
        "robot": content["task"],
        "episodes": f"{content['model']['calibration']['episodes']:,} / {content['recording']['episodes']:,}",
        "covered": _figure(found["coverage"]["pooled"]),
    }
    cells |= {f"at {horizon}": f"{figure['value']:.2f}" for horizon, figure in found["coverage"]["at"].items()}
    return cells | {f"AUROC at {horizon}": _area(row, "expected") for horizon, row in found["auroc"].items()}


def _changes_line(content: Mapping[str, Any]) -> dict[str, str]:
    """Areas at the last horizon with enough wrong and right predictions, alone and with what was observed before."""
    cells = {"robot": content["task"]}
    for change, found in content["changed"].items():
        told = [(horizon, row) for horizon, row in (found or {}).items() if row["expected"] is not None]
        if not told:
            cells[change] = "does not move it" if found is None else "too few"
            continue
        horizon, row = next(((h, r) for h, r in told if h == "50"), told[-1])
        cells[change] = f"{row['expected']['value']:.2f} -> {row['surprised']['value']:.2f} (at {horizon})"
    return cells


OF_MANY: dict[str, Callable[[Path], str]] = {
    "zoo": render_zoo,
    "simulators": render_simulators,
    "throughput": render_throughput,
    "race": render_race,
    "verdicts": render_verdicts,
    "video": render_video,
    "learning": render_learning,
    "calibration": lambda results: render_calibration(results, _coverage_line),
    "changes": lambda results: render_calibration(results, _changes_line),
}
"""Marker of a table of many files -> what writes it."""


def _area(row: Mapping[str, Any], name: str) -> str:
    return "" if row[name] is None else _figure(row[name])


def _figure(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}]"


def _rounded(figure: Mapping[str, float]) -> str:
    found = f"{shown(figure['value'])} [{shown(figure['low'])}, {shown(figure['high'])}]"
    return found.replace(MINUS, "-")  # as the other tables write it


def _judged(gate: Mapping[str, Any]) -> str:
    """A figure with its interval and the limit that was asked for."""
    asked = f">= {gate['at_least']:.2g}" if gate["at_most"] is None else f"<= {gate['at_most']:.2g}"
    if gate["value"] is None:
        return f"none ({asked})"
    return f"{gate['value']:.3g} [{gate['low']:.3g}, {gate['high']:.3g}] ({asked})"


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
        *(f"{errors[h]['wm_gym']['value']:.3f}" if h in errors else "" for h in ZOO_HORIZONS),
        f"{min(naive):.2f}" if naive else "",
        f"{held['value']:.0f} [{held['low']:.0f}, {held['high']:.0f}]",
        f"{times['floor']['value']:.0f}",
        _ratio(ratios["floor"]),
        f"{times['rival']['value']:.0f}" if "rival" in times else "not yet measured",
        _ratio(ratios["rival"]) if "rival" in times else "",
    ]
    return f"| {' | '.join(cells)} |"


def _ratio(found: Mapping[str, float]) -> str:
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def _line(method: str, seed: str, row: Mapping[str, Any]) -> str:
    physical = _interval(row["physical_return"], row["physical_low"], row["physical_high"])
    imagined = row.get("imagined_return")
    cells = [
        method,
        seed,
        f"{row['real_steps']:,}",
        physical,
        "" if imagined is None else f"{imagined:.2f}",
        _duration(row.get("wall_seconds")),
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
        _interval(found.value, found.low, found.high),
        f"{np.mean(imagined):.2f}" if len(imagined) == len(rows) else "",
        "",
    ]
    return "| " + " | ".join(f"**{cell}**" if cell else "" for cell in cells) + " |"


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def _words(machine: Any) -> str:
    if isinstance(machine, Mapping):
        return ", ".join(f"{key} {value}" for key, value in machine.items())
    return str(machine)


if __name__ == "__main__":
    sys.exit(main())
