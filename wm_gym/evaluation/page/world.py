"""The page's sections about the world itself: predictions, actions, physics, doubt, speed, controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from wm_gym.evaluation import charts, figures, panel_charts
from wm_gym.evaluation.charts import NOTHING
from wm_gym.evaluation.page.parts import GATES, chart, gates, interval, number, share, table, title, verdict_mark

Plain = Mapping[str, Any]


def open_loop(section: Plain) -> str:
    """Errors by horizon."""
    heading = title("How long its predictions hold", section)
    if not section["tested"]:
        return heading
    behaviours = ", ".join(f"{count} {escape(name)}" for name, count in section["behaviours"].items())
    head = ["steps", "world model", "best naive guess", "MuJoCo, slightly off", "skill", "times the floor"]
    rows = [
        (
            "",
            [
                f"{row['horizon']}<small>{row['seconds']:.3g} s, {row['running']} episodes</small>",
                interval(row["model"]),
                f"<span>{number(row['best_baseline'])}<small>{escape(row['best_baseline_name'])}</small></span>",
                interval(row["floor"]),
                interval(row["skill"]),
                number(row["excess"]),
            ],
        )
        for row in section["table"]
    ]
    reward = section["reward"]["model"]["value"]
    acting = "; ".join(f"{escape(r['behaviour'])} {number(r['error']['value'])}" for r in section["by_behaviour"])
    note = (
        f"Skill is 1 {charts.MINUS} error / best naive guess: 1 is exact, 0 no better. The predicted reward is off by "
        f"{number(reward[0])} standard deviations at the first step and {number(reward[-1])} at the last. The model's "
        f"error after {section['horizons'][-1]} steps by who acts: {acting}."
    )
    return (
        heading + f"<p>{section['episodes']} episodes that this report recorded in MuJoCo for itself ({behaviours}; "
        f"seeds from {section['first_seed']:,}). The model sees one observation, then only the actions. Errors are in "
        f"{escape(section['unit'])}: 0 is exact, about 1.4 is no better than a random moment of the data. The floor is "
        f"MuJoCo against itself, its joints started {section['floor_noise']:g} off.</p>"
        + chart(
            lambda width: figures.error_curves(section, width),
            "Shaded: 95 % intervals over episodes. Grey: guesses that know no physics.",
        )
        + table(head, rows, note)
        + gates(section)
        + _dimensions(section)
    )


def _dimensions(section: Plain) -> str:
    rows = section["dimensions"]
    if not rows:
        return ""
    more = f" The {figures.MOST_ROWS} worst of {len(rows)} are shown." if len(rows) > figures.MOST_ROWS else ""
    still = f" {len(section['still'])} numbers never move in the data and are left out." if section["still"] else ""
    return (
        "<h3>Which numbers drift</h3>"
        f"<p>The same errors for each number of the observation by itself.{more}{still}</p>"
        + chart(lambda width: figures.dimension_dots(section, width))
    )


def actions(section: Plain) -> str:
    """Counterfactuals."""
    heading = title("Does an action do what it does in MuJoCo?", section)
    if not section["tested"]:
        return heading
    motors = ", ".join(f"motor {row['motor'] + 1}: {number(row['sensitivity'])}" for row in section["by_motor"])
    rows = [
        ("", ["size of the effect beside MuJoCo's (1 is exact)", interval(section["sensitivity"])]),
        ("", ["noticeable effects with the right sign", interval(section["sign_agreement"])]),
        ("", ["direction of the effect (cosine)", number(section["cosine"])]),
        ("", ["steps by which the effect comes late", interval(section["lag_steps"])]),
        (
            "",
            [
                f"share of the error after {section['shuffle_horizon']} steps that the right actions take away",
                interval(section["shuffle_gap"]),
            ],
        ),
    ]
    return (
        heading + f"<p>At {section['moments']} moments, MuJoCo and the imagination are each put into the same state "
        f"twice, and the two futures differ by one action alone: a pulse of {section['pulse']:.0%} of a motor's half "
        "range up or down. What differs afterwards is the effect of that motor, in standard deviations of the data. "
        "Its signs are those of the dynamics' Jacobian by finite differences.</p>"
        + chart(lambda width: panel_charts.response_curves(section["response"], width))
        + table(["", "figure"], rows, f"Size of the effect, motor by motor: {motors}.")
        + gates(section)
    )


def physics(section: Plain) -> str:
    """Laws that the robot cannot break."""
    heading = title("Does it keep to the laws of the robot?", section)
    if not section["tested"]:
        return heading
    names = {
        "limit": ("beyond a joint's limit", "rad or m"),
        "penetration": ("into the ground or itself", "m"),
        "energy": ("more energy than MuJoCo's episodes ever had", "J"),
    }
    rows = [("", [f"{name}<small>{unit}</small>", *_law(section[key])]) for key, (name, unit) in names.items()]
    missing = [
        f"{name}: not measured, {section[key]['reason']}."
        for key, (name, _) in names.items()
        if not section[key]["tested"]
    ]
    rows.append(
        (
            "pooled",
            ["any of them", NOTHING, NOTHING, *map(interval, (section["implausible"], section["implausible_whole"]))],
        )
    )
    head = ["", "allowed", "worst imagined", f"share of episodes within {section['short']} steps", "within the whole"]
    return (
        heading
        + f"<p>The states of {section['episodes']} predicted episodes, held against the worst that MuJoCo's own "
        "episodes under the same actions show.</p>" + table(head, rows, escape(" ".join(missing))) + gates(section)
    )


def _law(found: Plain) -> list[str]:
    """What is allowed, the worst, and how often it is broken; in words where it was not measured."""
    if not found["tested"]:
        return ["not measured"] * 4
    return [number(found["bound"]), number(found["worst"]), interval(found["short"]), interval(found["whole"])]


def uncertainty(section: Plain) -> str:
    """What the world knows of its own errors."""
    heading = title("Does it know when it is wrong?", section)
    if not section["tested"]:
        return heading
    levels = [f"{level:g}" for level in section["levels"]]
    head = [
        "steps",
        "error / expected error",
        "rank correlation",
        *(f"{float(level):.0%} bound holds" for level in levels),
    ]
    rows = [
        (
            "",
            [
                f"{row['horizon']}<small>{row['episodes']} episodes</small>",
                interval(row["ratio"]),
                interval(row["correlation"]),
                *(share((row["coverage"] or {}).get(level)) for level in levels),
            ],
        )
        for row in section["table"]
    ]
    told = section["auroc"]
    area = f"{number(told['value'])} ({number(told['low'])} to {number(told['high'])})" if told else NOTHING
    note = (
        f"That a step with an error above {section['wrong_above']:g} was called more doubtful than one below: "
        f"probability {area}. Bounds are split-conformal: half of the episodes set them, the other "
        "half test them."
    )
    return heading + table(head, rows, note)


def camera(section: Plain) -> str:
    """What cameras would show: where the robot is in imagined pictures."""
    heading = title("Camera: where is the robot in imagined pictures?", section)
    if not section["tested"]:
        return heading
    unit, films = section["unit"], ("imagination", "shuffled actions", "last frame", "mean frame", "true frames")
    errors = [
        (
            "pooled" if name == "imagination" else "",
            [name, *(interval(row[name]["position"]) for row in section["by_horizon"].values())],
        )
        for name in films
    ]
    steps = [f"after {horizon} steps" for horizon in section["by_horizon"]]
    note = (
        f"Median error of the {section['place']} in {unit}, told by a small network that was trained on true frames "
        f"alone; {section['windows']} windows of {section['episodes']} held-out episodes, {section['context']} steps "
        "shown before. Intervals draw episodes. Last frame: what was shown last, held on to."
    )
    likeness = [
        (
            "",
            [
                f"{name}<small>{figure.upper()}</small>",
                *(number(row[name][figure]) for row in section["by_horizon"].values()),
            ],
        )
        for figure in ("psnr", "ssim")
        for name in ("imagination", "last frame", "mean frame")
    ]
    return (
        heading
        + table(["", *steps], errors, escape(note))
        + table(["", *steps], likeness, "Likeness of the pixels where something moves, and nowhere else.")
        + _camera_actions(section)
        + _camera_agents(section["agents"])
    )


def _camera_actions(section: Plain) -> str:
    """What actions do to the picture, and what is left of the robot once it was out of sight."""
    unit = section["unit"]
    said = [f"With shuffled actions the error grows by {_inline(section['shuffled_action_gap'])} {unit}."]
    if "permanence" in section:
        told = section["permanence"]
        said.append(
            f"The camera hidden for {told['hidden_steps']} steps: {_inline(told['before_look'])} {unit} off before "
            f"it is uncovered; ten steps after one look {_inline(told['after_look'])}, never hidden "
            f"{_inline(told['never_hidden'])}."
        )
    rows = [
        ("", [str(row["axis"]), number(row["true_size"], f" {unit}"), number(row["ratio"]), share(row["agreement"])])
        for row in section.get("effects", ())
    ]
    head = ["action held for ten steps", "moves it in MuJoCo by", "imagined effect / MuJoCo's", "same direction"]
    return f"<p>{' '.join(said)}</p>" + (table(head, rows) if rows else "")


def _inline(figure: Plain) -> str:
    """A figure with its interval within a sentence."""
    return f"{number(figure['value'])} ({number(figure['low'])} to {number(figure['high'])})"


def _camera_agents(agents: Sequence[Plain]) -> str:
    """What agents earned that see nothing but pictures."""
    if not agents:
        return ""
    rows = [
        (
            "",
            [
                f"{escape(row['method'])}<small>seed {row['seed']}</small>",
                number(row["real_steps"]),
                interval(row["physical"]),
                interval(row["imagined"]),
                interval(row["refiltered"]),
                number(row["training_seconds"], " s"),
            ],
        )
        for row in agents
    ]
    head = [
        "trained",
        "frames of MuJoCo",
        "return in MuJoCo, from the camera",
        "imagined",
        "drawn, filtered",
        "training",
    ]
    note = "Drawn, filtered: in imagination, but acting on what the filter makes of the drawn frames, as with a camera."
    return table(head, rows, note)


def robustness(section: Plain) -> str:
    """Under hostile actions."""
    heading = title("Under actions that nobody sensible would take", section)
    if not section["tested"]:
        return heading
    head = ["actions", "mean length", "left the bounds", "not a number", "furthest from the starts"]
    rows = [
        (
            "",
            [
                escape(row["actions"]),
                number(row["mean_length"]),
                f"{row['left_bounds']} of {row['rows']}",
                f"{row['not_finite']} of {row['rows']}",
                number(row["furthest"]),
            ],
        )
        for row in section["table"]
    ]
    note = (
        f"Imagined episodes of up to {section['steps']} steps. The last column is in standard deviations of the data."
    )
    return heading + table(head, rows, note)


def speed(section: Plain) -> str:
    """Beside MuJoCo."""
    heading = title("Speed beside MuJoCo", section)
    if not section["tested"]:
        return heading
    names = {"physics": "MuJoCo, one environment", "imagination": "imagination"}
    rows = [
        (
            "",
            [
                f"{names[row['world']]}<small>{row['batch']:,} at once</small>",
                number(row["steps_per_second"]),
                number(row["times_physics"]),
            ],
        )
        for row in section["table"]
    ]
    slower = section["physics_faster_at"]
    said = (
        f"MuJoCo is faster with {' and '.join(f'{n:,}' for n in slower)} at once."
        if slower
        else "The imagination is faster at every size that was tried."
    )
    return heading + table(
        ["", "steps a second", "times MuJoCo"],
        rows,
        f"{said} Measured on the machine named below, with "
        "whatever else it did; MuJoCo on one core, the imagination on all that torch takes.",
    )


def controls(section: Plain) -> str:
    """Whether the report can fail."""
    heading = title("Can this report fail?", section)
    if not section["tested"]:
        return heading
    rows = [
        (
            "",
            [
                escape(row["control"]),
                escape(GATES[row["built_to_fail"]]) if row["built_to_fail"] else "none: it passes every gate",
                verdict_mark("AS BUILT" if row["as_built"] else "NOT AS BUILT"),
            ],
        )
        for row in section["table"]
    ]
    return (
        heading
        + "<p>Five worlds whose verdict is known go through the same measurements, in small: MuJoCo itself, and "
        "four that are each wrong in one way.</p>" + table(["control", "built to fail", "came out"], rows)
    )
