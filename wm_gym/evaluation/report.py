"""The report as plain values: what ``report.json`` holds, and the sentences that follow from the figures.

The page (``page.py``) is drawn from these values alone, so that the two can never disagree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np

from wm_gym.evaluation import returns as scoring
from wm_gym.evaluation.charts import shown
from wm_gym.evaluation.returns import Pooled, Returns
from wm_gym.types import TaskSpec

SCHEMA_VERSION = 3

Plain = dict[str, Any]


def plain(value: Any) -> Any:
    """Dataclasses, arrays and numbers as JSON holds them; what is not finite becomes None."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def rounded(value: Any) -> Any:
    """Plain values with six significant digits: more say nothing, and the file is kept in the repository."""
    if isinstance(value, Mapping):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def returns_section(
    entries: Sequence[Returns], first_seed: int, episodes: int, generator: np.random.Generator
) -> Plain:
    """All contenders, methods with several training seeds pooled, and the differences between methods."""
    methods: dict[str, list[Returns]] = {}
    for entry in entries:
        if len(entry.physical_returns):  # a mean alone, as a manifest keeps it, cannot be resampled
            methods.setdefault(entry.kind, []).append(entry)
    pooled: list[Pooled] = []
    for kind, members in methods.items():
        # Behaviours are not training seeds of one method: their mean would say nothing.
        if len(members) > 1 and kind in ("imagination", "control"):
            pooled.append(scoring.pool(f"{_METHODS[kind]}, {len(members)} seeds", members, generator))
    comparisons = []
    for other in ("control", "behaviour", "random") if "imagination" in methods else ():
        rivals = methods.get(other, [])
        if other == "behaviour" and rivals:
            rivals = [max(rivals, key=lambda entry: entry.physical.value)]
        if rivals:
            found = scoring.difference(rivals, methods["imagination"], generator)
            name = f"the best of {_METHODS[other]}, {rivals[0].name}" if other == "behaviour" else _METHODS[other]
            comparisons.append({"than": other, "name": name, "difference": plain(found)})
    return {
        "unit": "undiscounted sum of rewards over an episode",
        "first_seed": first_seed,
        "episodes": episodes,
        "contenders": [plain(entry) for entry in entries],
        "pooled": [plain(entry) for entry in pooled],
        "comparisons": comparisons,
    }


_METHODS = {
    "imagination": "trained in imagination",
    "control": "trained in MuJoCo",
    "random": "random actions",
    "behaviour": "the data's behaviour",
}


def method_rows(section: Mapping[str, Any]) -> list[Plain]:
    """One row for each method: the pooled one where there are several seeds, else the contender itself."""
    pooled = {row["kind"]: row for row in section["pooled"]}
    rows: list[Plain] = []
    for row in section["contenders"]:
        chosen = pooled.get(row["kind"], row)
        if chosen not in rows:
            rows.append(chosen)
    return rows


def headline(report: Mapping[str, Any]) -> str:
    """What was found, in one plain sentence."""
    camera = report.get("camera", {})
    if camera.get("tested"):
        steps, row = list(camera["by_horizon"].items())[-1]
        errors = [shown(row[name]["position"]["value"]) for name in ("imagination", "last frame")]
        return (
            f"After {steps} imagined steps the {camera['place']} in the picture is {errors[0]} {camera['unit']} off, "
            f"where the last frame shown is {errors[1]} {camera['unit']} off."
        )
    trained = _trained_inside(report)
    return _transfer_sentence(trained[0]) if trained else _prediction_sentence(report["open_loop"])


def summary(report: Mapping[str, Any]) -> str:
    """What else was found, in two or three sentences."""
    trained = _trained_inside(report)
    sentences = [_comparison_sentence(report["closed_loop"]["comparisons"])] if trained else []
    if trained and report["open_loop"]["tested"]:
        sentences.append(_prediction_sentence(report["open_loop"]))
    return " ".join(sentence for sentence in sentences if sentence)


def _trained_inside(report: Mapping[str, Any]) -> list[Plain]:
    section = report["closed_loop"]
    return [row for row in method_rows(section) if row["kind"] == "imagination"] if section["tested"] else []


def _transfer_sentence(row: Mapping[str, Any]) -> str:
    gap = row["gap"]
    seeds = f"the policy (mean of {row['seeds']} training seeds)" if "seeds" in row else "the policy"
    text = (
        f"Trained only in imagination, {seeds} returns {shown(row['physical']['value'])} per episode in MuJoCo, "
        f"where the imagination said {shown(row['imagined']['value'])}: "
    )
    if gap["low"] <= 0 <= gap["high"]:
        return text + "a gap that cannot be told from zero."
    return text + f"{shown(abs(gap['value']))} too {'much' if gap['value'] > 0 else 'little'}."


def _comparison_sentence(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """How the policy trained in imagination does beside the others, those of one outcome named together."""
    names = {
        "control": "the policy trained in MuJoCo",
        "random": "random actions",
        "behaviour": "what acted in the data",
    }
    outcomes: dict[str, list[str]] = {}
    for comparison in comparisons:
        difference = comparison["difference"]
        outcome = "not told apart from"
        if difference["low"] > 0:
            outcome = "better than"
        elif difference["high"] < 0:
            outcome = "worse than"
        outcomes.setdefault(outcome, []).append(names[comparison["than"]])
    parts = [f"{outcome} {' and '.join(others)}" for outcome, others in outcomes.items()]
    return f"In MuJoCo it is {'; '.join(parts)}." if parts else ""


def _prediction_sentence(open_loop: Mapping[str, Any]) -> str:
    if not open_loop["tested"]:
        return "Nothing was asked of the predictions, and no policy was trained in them."
    valid, last = open_loop["valid_time"], open_loop["table"][-1]
    reach = f"all {valid['steps']} steps" if valid["censored"] else f"{valid['steps'] - 1} steps"
    text = (
        f"Given the same actions, the model's predictions stay within 0.3 standard deviations of the data for {reach}"
    )
    if last["skill"] is None:
        return text + "."
    return (
        f"{text}; after {last['horizon']} steps the error is {shown(last['model']['value'])} where the best naive "
        f"guess has {shown(last['best_baseline'])} and MuJoCo itself, started {open_loop['floor_noise']:g} off, "
        f"{shown(last['floor']['value'])}."
    )


def limits(task: TaskSpec, control: str) -> list[str]:
    """What the report does not show, whatever it found.

    Args:
        task: that was judged.
        control: ``committed``, ``run`` or ``none``: where the policy trained in MuJoCo came from.
    """
    known = [
        "Reality. MuJoCo is the truth here; how MuJoCo differs from a real robot is not measured.",
        "Other tasks and rewards. The return is this task's own; a policy for another reward visits other states.",
        "States that neither the data nor these policies reach. A policy that looks for errors of the imagination may "
        "find some.",
        "Intervals of a few training seeds are too narrow rather than too wide: a bootstrap of three knows of three.",
        "Open loop replays recorded actions. A policy that reacts to a wrong state can do better or worse than that.",
    ]
    if control == "committed":
        known.append(
            "The control was trained and scored earlier, perhaps on another machine; control=run recomputes it here."
        )
    if control == "none":
        known.append(
            "Whether training in MuJoCo itself would have done better: no control was asked for, or none exists."
        )
    if task.max_episode_steps < 200:
        known.append(f"Long tasks. An episode here lasts {task.max_episode_steps * task.control_dt:.3g} s.")
    return known
