"""What a reader must know before believing a figure: found from the figures, not written by hand.

Where MuJoCo is faster stands in the section on speed alone: that differs from run to run, and these sentences must not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wm_gym.evaluation.charts import shown

Section = Mapping[str, Any]

NOTABLE = 0.1
"""Share of a scale below which a difference needs no caution."""


def cautions(report: Mapping[str, Any]) -> list[str]:
    """Sentences, the gravest first."""
    found: list[str] = []
    for name, look in _LOOKS.items():
        section = report.get(name, {})
        if section.get("tested", name == "data"):
            found += look(section)
    found += _foreign_agents(report)
    return found


def _controls(section: Section) -> list[str]:
    wrong = [row["control"] for row in section["table"] if not row["as_built"]]
    if not wrong:
        return []
    return [f"Believe no verdict of this report: the control {' and '.join(wrong)} did not come out as it was built."]


def _data(section: Section) -> list[str]:
    found = []
    if section.get("matches_model") is False:
        found.append("The data given here is not the data that the model was trained on: their hashes differ.")
    if section.get("shared_starts"):
        found.append(f"{section['shared_starts']} recorded episodes begin exactly as episodes of this report: a leak.")
    return found


def _ranking(section: Section) -> list[str]:
    found = []
    if section["policies"] < 20:
        found.append(
            f"Only {section['policies']} policies were ranked: twenty or more make a correlation worth having."
        )
    bias = section["bias"]
    if _apart_from_zero(bias) and abs(bias["value"]) > NOTABLE * section["range"]:
        way = "more" if bias["value"] > 0 else "less"
        found.append(f"Over the panel the imagination promises {shown(abs(bias['value']))} {way} than MuJoCo pays.")
    lengths = [(row["physical_length"], row["imagined_length"]) for row in section["panel"]]
    real, dream = (sum(column) / len(lengths) for column in zip(*lengths, strict=True))
    if abs(dream / real - 1) > NOTABLE:
        way = "later" if dream > real else "earlier"
        found.append(f"Over the panel, imagined episodes end {abs(dream / real - 1):.0%} {way} than in MuJoCo.")
    outside = [row["name"] for row in section["panel"] if row["supported"] is not None and row["supported"] < 0.5]
    if outside:
        found.append(
            f"{len(outside)} of {section['policies']} policies spend most of their time in MuJoCo outside the recorded "
            f"data ({', '.join(outside[:3])}{', ...' if len(outside) > 3 else ''})."
        )
    return found


def _closed_loop(section: Section) -> list[str]:
    found = []
    scale = _return_scale(section)
    for row in section["contenders"]:
        gap = row["gap"]
        if gap and _apart_from_zero(gap) and abs(gap["value"]) > NOTABLE * scale:
            way = "more" if gap["value"] > 0 else "less"
            found.append(f"{row['name']}: the imagination promises {shown(abs(gap['value']))} {way} than MuJoCo pays.")
        real, dream = row["physical_length"], row["imagined_length"]
        if real and dream and abs(dream / real - 1) > NOTABLE:
            way = "later" if dream > real else "earlier"
            found.append(f"{row['name']}: imagined episodes end {abs(dream / real - 1):.0%} {way} than in MuJoCo.")
        if row["left_bounds"]:
            found.append(f"{row['name']}: imagined episodes that left the bounds of the world: {row['left_bounds']}.")
    if sum(row["kind"] == "imagination" for row in section["contenders"]) == 1:
        found.append("One training seed only: the intervals say nothing of how another seed would have done.")
    if section["episodes"] < 30:
        found.append(f"Only {section['episodes']} episodes in each world: the intervals are rough.")
    return found


def _open_loop(section: Section) -> list[str]:
    found = []
    model = next(p for p in section["predictors"] if p["kind"] == "model")
    if model["failures"]:
        found.append(f"{model['failures']} of {section['episodes']} open-loop predictions became infinite.")
    last = section["table"][-1]
    if last["skill"] and last["skill"]["low"] <= 0:
        how = "worse than" if last["skill"]["high"] < 0 else "not told apart from"
        name = last["best_baseline_name"]
        found.append(f"After {last['horizon']} steps the model is {how} the best naive guess, {name}.")
    if last["running"] < section["episodes"]:
        found.append(
            f"{last['running']} of {section['episodes']} episodes still ran at step {last['horizon']}; "
            "later horizons speak of those alone."
        )
    return found


def _training(section: Section) -> list[str]:
    if section["transfer"]["value"] is not None:
        return []
    return [
        "Training in MuJoCo gained nothing that is clear above random actions: there is no gain to have a share of."
    ]


def _planning(section: Section) -> list[str]:
    if section["gap"]["value"] is not None:
        return []
    return [
        "Planning in MuJoCo gained nothing that is clear above random actions: there is no gain to lose a share of."
    ]


def _exploit(section: Section) -> list[str]:
    found = section["exploitation"]
    if found["value"] is None:
        return ["The search in MuJoCo found nothing clearly better than random actions: nothing is within its reach."]
    if found["low"] is not None and found["low"] > NOTABLE:
        share = f"{found['value']:.0%}"
        return [f"A search of the imagination finds returns that do not exist: {share} of what is within reach."]
    return []


def _robustness(section: Section) -> list[str]:
    wrong = sum(row["not_finite"] for row in section["table"])
    return [f"{wrong} imagined episodes under hostile actions held a value that is no number."] if wrong else []


_LOOKS = {
    "controls": _controls,
    "data": _data,
    "ranking": _ranking,
    "closed_loop": _closed_loop,
    "training": _training,
    "exploit": _exploit,
    "planning": _planning,
    "open_loop": _open_loop,
    "robustness": _robustness,
}


def _foreign_agents(report: Mapping[str, Any]) -> list[str]:
    section, judged = report["closed_loop"], report["identity"]["model"]["sha256"]
    found = []
    for row in section.get("contenders", ()):
        trained_in = row["details"].get("model_sha256")
        if trained_in and trained_in != judged:
            found.append(f"{row['name']}: trained in another world model than the one judged here.")
    return found


def _apart_from_zero(figure: Mapping[str, Any]) -> bool:
    return figure["low"] is not None and (figure["low"] > 0 or figure["high"] < 0)


def _return_scale(section: Section) -> float:
    """Range of mean physical returns over the contenders, the yardstick of a gap; one contender is its own."""
    means: Sequence[float] = [float(row["physical"]["value"]) for row in section["contenders"]]
    return max(means) - min(means) if len(means) > 1 else abs(means[0]) if means else 1.0
