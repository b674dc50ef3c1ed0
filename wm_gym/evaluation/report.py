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

SCHEMA_VERSION = 1

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
    trained = [row for row in method_rows(report["returns"]) if row["kind"] == "imagination"]
    return _transfer_sentence(trained[0]) if trained else _prediction_sentence(report["open_loop"])


def summary(report: Mapping[str, Any]) -> str:
    """What else was found, in two or three sentences."""
    trained = [row for row in method_rows(report["returns"]) if row["kind"] == "imagination"]
    sentences = [_comparison_sentence(report["returns"]["comparisons"])]
    if trained and report["open_loop"]:
        sentences.append(_prediction_sentence(report["open_loop"]))
    return " ".join(sentence for sentence in sentences if sentence)


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


def warnings(report: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing a figure: found from the figures, not written by hand."""
    found = []
    section = report["returns"]
    scale = _return_scale(section)
    for row in section["contenders"]:
        gap = row["gap"]
        if gap and (gap["low"] > 0 or gap["high"] < 0) and abs(gap["value"]) > 0.1 * scale:
            way = "more" if gap["value"] > 0 else "less"
            found.append(f"{row['name']}: the imagination promises {shown(abs(gap['value']))} {way} than MuJoCo pays.")
        real, dream = row["physical_length"], row["imagined_length"]
        if real and dream and abs(dream / real - 1) > 0.1:
            way = "later" if dream > real else "earlier"
            share = abs(dream / real - 1)
            found.append(f"{row['name']}: imagined episodes end {share:.0%} {way} than in MuJoCo.")
        if row["left_bounds"]:
            found.append(f"{row['name']}: imagined episodes that left the bounds of the world: {row['left_bounds']}.")
        trained_in = row["details"].get("model_sha256")
        if trained_in and trained_in != report["identity"]["model"]["sha256"]:
            found.append(f"{row['name']}: trained in another world model than the one judged here.")
    seeds = sum(row["kind"] == "imagination" for row in section["contenders"])
    if seeds == 1:
        found.append("One training seed only: the intervals say nothing of how another seed would have done.")
    if section["episodes"] < 30:
        found.append(f"Only {section['episodes']} episodes in each world: the intervals are rough.")
    found += _open_loop_warnings(report["open_loop"]) if report["open_loop"] else []
    data = report["data"]
    if data.get("matches_model") is False:
        found.append("The data given here is not the data that the model was trained on: their hashes differ.")
    if data.get("shared_starts"):
        found.append(f"{data['shared_starts']} recorded episodes begin exactly as episodes of this report: a leak.")
    return found


def _open_loop_warnings(open_loop: Mapping[str, Any]) -> list[str]:
    found = []
    model = next(p for p in open_loop["predictors"] if p["kind"] == "model")
    if model["failures"]:
        found.append(f"{model['failures']} of {open_loop['episodes']} open-loop predictions became infinite.")
    last = open_loop["table"][-1]
    if last["skill"] and last["skill"]["low"] <= 0:
        how = "worse than" if last["skill"]["high"] < 0 else "not told apart from"
        found.append(
            f"After {last['horizon']} steps the model is {how} the best naive guess, {last['best_baseline_name']}."
        )
    if last["running"] < open_loop["episodes"]:
        found.append(
            f"{last['running']} of {open_loop['episodes']} episodes still ran at step {last['horizon']}; "
            "later horizons speak of those alone."
        )
    return found


def _return_scale(section: Mapping[str, Any]) -> float:
    """Range of mean physical returns over the contenders, the yardstick of a gap; one contender is its own."""
    means = [float(row["physical"]["value"]) for row in section["contenders"]]
    return max(means) - min(means) if len(means) > 1 else abs(means[0])


def limits(task: TaskSpec, control: str) -> list[str]:
    """What the report does not show, whatever it found."""
    known = [
        "Reality. MuJoCo is the truth here; how MuJoCo differs from a real robot is not measured.",
        "Other tasks and rewards. The return is this task's own; a policy for another reward visits other states.",
        "States that neither the data nor these policies reach. A policy that looks for errors of the imagination may "
        "find some.",
        "Contenders are few: that the imagination ranks policies as MuJoCo does is not claimed.",
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
