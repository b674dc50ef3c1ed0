"""The page's sections about policies: ranked, trained, searched for, planned, and met by another reality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from wm_gym.evaluation import figures, panel_charts
from wm_gym.evaluation.figures import NARROW
from wm_gym.evaluation.page.parts import chart, gates, interval, number, table, title, verdict_mark
from wm_gym.evaluation.report import method_rows

Plain = Mapping[str, Any]

_SCATTER = 500.0
_KEY = (
    '<p class="key"><span class="physical">● in MuJoCo</span> &nbsp; <span class="imagined">◆ imagined</span> &nbsp; '
    "with 95 % intervals</p>"
)


def ranking(section: Plain) -> str:
    """How the panel is ordered."""
    heading = title("Does it rank policies as MuJoCo does?", section)
    if not section["tested"]:
        return heading
    names = {
        "spearman": "Spearman's rank correlation",
        "pearson": "Pearson's correlation",
        "kendall": "Kendall's tau",
        "mmrv": "mean maximum rank violation",
        "regret": "regret of the best one",
        "regret_at_3": "regret of the best three",
        "bias": "bias (imagined minus MuJoCo)",
        "absolute_error": "mean absolute error",
    }
    rows = _ranked(names, section)
    if section["length_pearson"]:
        rows.append(("", ["Pearson's correlation of episode lengths", interval(section["length_pearson"]), ""]))
    saved = section["episodes_saved"]
    worth = ""
    if saved:
        worth = (
            f" With {number(saved['physics_episodes'])} physics episodes of each policy, imagined ones stand for "
            f"{number(saved['value'])} more ({number(saved['low'])} to {number(saved['high'])})."
        )
    drawings = panel_charts.panel_scatter(section["panel"], _SCATTER) + panel_charts.panel_scatter(
        section["panel"], NARROW
    )
    return (
        heading + f"<p>{number(section['policies'])} policies, {number(section['episodes'])} episodes of each in each "
        "world, from the same starts. Regret and rank violations are in units of the panel's range of returns, "
        f"{number(section['range'])}. Intervals draw policies and episodes; the floor is one half of MuJoCo's episodes "
        "against the other.</p>"
        f'<figure class="card"><div class="beside"><div>{drawings}</div><div><p>Each mark is a policy, with the '
        "intervals of its mean return in both worlds. A perfect imagination puts all of them on the dashed line; for a "
        "perfect ranking it is enough that they rise together.</p>"
        f'<p class="small quiet">Chance alone would rank so well with a probability of '
        f"{number(section['permutation_p'])}.{worth}</p></div></div></figure>"
        + table(_RANKED, rows)
        + gates(section)
        + _trained_alone(names, section["trained_alone"])
    )


_RANKED = ["figure", "imagination against MuJoCo", "MuJoCo against itself"]


def _ranked(names: Mapping[str, str], found: Plain) -> list[tuple[str, list[str]]]:
    """A row for each figure, beside its floor."""
    return [("", [name, interval(found[key]), interval(found["floor"][key])]) for key, name in names.items()]


def _trained_alone(names: Mapping[str, str], found: Plain) -> str:
    """The same figures without the policies that nobody trained."""
    heading = "<h3>The trained policies alone</h3>"
    if not found["tested"]:
        return f'{heading}<p class="quiet">{verdict_mark("NOT TESTED")} {escape(found["reason"])}.</p>'
    return (
        f"{heading}<p>Policies that nobody trained are easily told from trained ones. These are the figures over the "
        f"{number(found['policies'])} trained ones alone, in units of their own range, {number(found['range'])}. No "
        "verdict rests on them.</p>" + table(_RANKED, _ranked(names, found))
    )


def closed_loop(section: Plain) -> str:
    """What agents earn in each world."""
    heading = title("What agents earn in each world", section)
    if not section["tested"]:
        return heading
    rows = method_rows(section)
    last = section["first_seed"] + section["episodes"] - 1
    parts = [
        heading,
        f"<p>Return of an episode, {section['episodes']} episodes in each world. MuJoCo is reset with the seeds "
        f"{section['first_seed']} to {last}; the imagination begins at the first observations that MuJoCo then showed. "
        "The gap is imagined minus MuJoCo, start by start: above zero, the imagination promises too much.</p>",
        _returns_table(section),
        _KEY,
        chart(lambda width: figures.return_dots(rows, width, "Return of each method in each world")),
    ]
    if figures.dominated(section["contenders"]):
        trained = [r for r in [*section["pooled"], *section["contenders"]] if r["kind"] in ("imagination", "control")]
        note = "The same without the untrained ones, each training seed by itself."
        parts.append(chart(lambda width: figures.return_dots(trained, width, "Return of trained policies"), note))
    return "".join([*parts, _comparisons(section["comparisons"]), _episodes(section)])


def _returns_table(section: Plain) -> str:
    head = ["", "in MuJoCo", "imagined", "gap", "correlation of episodes", "middle half: MuJoCo, imagined"]
    rows = []
    for kind, entries in (("pooled", section["pooled"]), ("", section["contenders"])):
        for row in entries:
            cells = [
                f"{escape(row['name'])}<small>{_details(row)}</small>",
                interval(row["physical"]),
                interval(row["imagined"]),
                interval(row["gap"]),
                interval(row.get("pearson")),
                _middle(row.get("details", {}).get("interquartile_mean")),
            ]
            rows.append((kind, cells))
    return table(
        head, rows, "Middle half: the mean of the half of the episodes between the quartiles (interquartile mean)."
    )


def _middle(means: Plain | None) -> str:
    """The interquartile means of both worlds, one below the other; a contender that was only recorded has none."""
    return f"<span>{interval(means['physical'])}{interval(means['imagined'])}</span>" if means else interval(None)


def _details(row: Plain) -> str:
    """What made a policy, in a few words."""
    if "seeds" in row:
        return "each seed counts alike; interval over seeds, then episodes"
    known = row.get("details", {})
    words = []
    if known.get("real_steps"):
        words.append(f"{known['real_steps']:,} real steps")
    if known.get("imagined_steps"):
        words.append(f"{known['imagined_steps']:,} imagined steps")
    if known.get("note"):
        words.append(str(known["note"]))
    return escape(", ".join(words))


def _comparisons(comparisons: Sequence[Plain]) -> str:
    if not comparisons:
        return ""
    rows = [
        ("", [f"trained in imagination, compared with {escape(c['name'])}", interval(c["difference"])])
        for c in comparisons
    ]
    note = "Above zero: training in imagination earned more. An interval that holds zero decides nothing."
    return table(["", "difference of returns in MuJoCo"], rows, note)


def _episodes(section: Plain) -> str:
    drawn = [row for row in section["contenders"] if row["imagined_returns"]]
    if not drawn:
        return ""
    trained = [row for row in drawn if row["kind"] in ("imagination", "control")]
    left_out = ""
    # Clouds that lie far apart would each shrink to a speck: then only the trained policies are drawn.
    if trained and figures.dominated(section["contenders"]):
        drawn, left_out = trained, " Random actions earn so much less that they are not drawn."
    listed = "".join(
        f"<li>{escape(row['name'])}: correlation {number((row['pearson'] or {}).get('value'))} (Pearson), "
        f"{number((row['spearman'] or {}).get('value'))} (Spearman); off by "
        f"{number(row['absolute_error']['value'])} per episode</li>"
        for row in trained or drawn
    )
    drawings = figures.return_scatter(drawn, _SCATTER) + figures.return_scatter(drawn, NARROW)
    return (
        "<h3>Episode by episode</h3>"
        f'<figure class="card"><div class="beside"><div>{drawings}</div><div><p>Each dot is one start, played by the '
        "same policy in both worlds. On the dashed line the imagination was right; above it, it promised too much."
        f'{left_out}</p><ul class="small">{listed}</ul></div></div></figure>'
    )


def training(section: Plain) -> str:
    """What training in imagination keeps of training in MuJoCo."""
    heading = title("Training in imagination", section)
    if not section["tested"]:
        return heading
    seeds = section["seeds"]
    return (
        heading + "<p>Return in MuJoCo above that of random actions, as a share of what training in MuJoCo itself "
        f"gains: 1 is as good, above 1 better. {seeds['imagination']} training seeds in imagination, "
        f"{seeds['physics']} in MuJoCo.</p>" + gates(section)
    )


def exploit(section: Plain) -> str:
    """What a search finds that does not exist."""
    heading = title("What a search finds in it", section)
    if not section["tested"]:
        return heading
    rows = [
        ("", ["what the imagination says of its best plan", interval(section["imagined"])]),
        ("", ["what MuJoCo pays for the same plan", interval(section["physical"])]),
        ("", ["the best plan of the same search in MuJoCo", interval(section["best"])]),
        ("", ["random actions in MuJoCo", interval(section["random"])]),
    ]
    note = (
        "Exploitation is the first line minus the second, shortfall the third minus the second, both as shares of the "
        f"third minus the fourth. Shortfall: {number(section['shortfall']['value'])} "
        f"({number(section['shortfall']['low'])} to {number(section['shortfall']['high'])})."
    )
    return (
        heading + f"<p>The cross-entropy method looks for the {section['steps']} actions with the highest imagined "
        f"return from {section['starts']} starts; MuJoCo then plays them. A search finds the errors of a world, if it "
        "has any that pay.</p>" + table(["", "return"], rows, note) + gates(section)
    )


def planning(section: Plain) -> str:
    """The planning gap."""
    heading = title("Planning in it", section)
    if not section["tested"]:
        return heading
    names = {"model": "planned in imagination", "physics": "planned in MuJoCo", "random": "random actions"}
    head, success = ["acting in MuJoCo", "return"], section["success"]
    rows = [("", [name, interval(section["returns"][key])]) for key, name in names.items()]
    note = ""
    if success:
        head.append("success")
        rows = [("", [*cells, interval(success[key])]) for (_, cells), key in zip(rows, names, strict=True)]
        gap = section["success_gap"]
        note = (
            f"Success with MuJoCo's plans minus success with imagined ones: {number(gap['value'])} "
            f"({number(gap['low'])} to {number(gap['high'])}). Others report +0.20 (TD-MPC2) and +0.33 (DreamerV3) on "
            "the DeepMind control suite's reacher-easy, which is a different arm."
        )
    return (
        heading
        + f"<p>The same planner (MPPI, {section['planner']['horizon']} steps ahead, planned anew at every step) "
        f"with the same candidates, in both worlds; {section['episodes']} episodes of {section['steps']} steps in "
        "MuJoCo. The gap is the share of what MuJoCo's plans win over random actions that imagined ones lose.</p>"
        + table(head, rows, note)
        + gates(section)
    )


def reality_gap(section: Plain) -> str:
    """How policies fare on changed robots."""
    heading = title("When reality is another", section)
    if not section["tested"]:
        return heading
    listed = "; ".join(
        f"{'◆' if policy['kind'] == 'imagination' else '●'} {escape(policy['name'])}" for policy in section["policies"]
    )
    head = ["change", *(f"{p['name']}: change of return" for p in section["policies"])]
    rows = [
        (
            "",
            [
                f"{escape(row['axis'])}<small>{escape(row['amount'])}</small>",
                *(interval(p["change"]) for p in row["policies"]),
            ],
        )
        for row in section["table"]
        if row["amount"]
    ]
    return (
        heading + "<p>MuJoCo with one thing changed stands for a real robot that differs from the recorded one. Shown "
        f"is how the return of a policy changes from nominal MuJoCo, the same {section['episodes']} starts: {listed}."
        "</p>"
        + chart(lambda width: panel_charts.change_dots(section, width), "Left of zero: the policy earns less there.")
        + table(head, rows)
        + _refits(section["refitted"])
    )


def _refits(section: Plain) -> str:
    """The model on changed robots, before and after a little of their data."""
    heading = "<h3>The model on the changed robot</h3>"
    if not section["tested"]:
        return f'{heading}<p class="quiet">{verdict_mark("NOT TESTED")} {escape(section["reason"])}.</p>'
    rows = [
        (
            "",
            [
                f"{escape(row['axis'])}<small>{escape(row['amount'])}</small>",
                interval(row["as_it_was"]),
                interval(row["refitted"]),
                f"{number(row['steps_learnt'])} steps",
            ],
        )
        for row in section["table"]
    ]
    horizon = section["table"][0]["horizon"]
    head = ["change", f"error after {horizon} steps", "the same, refitted", "refitted on"]
    return heading + table(head, rows, "Open-loop nRMSE on fresh episodes of the changed robot.")
