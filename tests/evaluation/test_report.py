"""From figures to sentences and a page: the same numbers everywhere, and nothing from outside."""

import json
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest

from wm_gym.evaluation import open_loop, page, report, returns
from wm_gym.evaluation.film import make_film
from wm_gym.evaluation.held_out import stack_episodes
from wm_gym.types import ObservationMap

VOID = {"meta", "img", "br", "input", "link", "circle", "path", "line"}


def rng():
    return np.random.default_rng(0)


def entry(name, kind, physical, imagined=None, **details):
    real = np.asarray(physical, dtype=np.float64)
    if imagined is None:
        return returns.recorded_returns(name, kind, real, rng(), details=details)
    make = lambda values: [_Fixed(value) for value in values]  # noqa: E731
    contender = returns.Contender(name, kind, None, details)
    return returns.compare_returns(contender, make(real), make(imagined), 50, rng())


class _Fixed:
    """An episode of 50 steps with a known return."""

    truncated = True

    def __init__(self, value):
        self.rewards = np.full(50, value / 50)

    def __len__(self):
        return 50


@pytest.fixture
def values(world, task, episodes):
    """A report in which the imagination promises 2 too much, beats random and draws with the control."""
    noise = np.random.default_rng(1).normal(size=40)
    entries = [
        entry(
            "PPO in imagination, seed 0", "imagination", -6 + noise, -4 + noise, algorithm="ppo", imagined_steps=1000
        ),
        entry("PPO in imagination, seed 1", "imagination", -6.5 + noise, -4.5 + noise, algorithm="ppo"),
        entry("SAC in MuJoCo, seed 0", "control", -6.2 + noise[::-1], real_steps=20000, note="committed"),
        entry("random actions", "random", -43 + noise, -43 + noise),
        entry("data: <smooth>", "behaviour", -30 + 5 * noise),
    ]
    held_out = stack_episodes(episodes, horizon=10)
    floor = (held_out.truth + 0.001, held_out.future_rewards)
    judged = open_loop.judge_prediction(world.Model(drift=0.02), task, held_out, episodes, floor, rng())
    found = {
        "task": task.to_dict(),
        "returns": report.returns_section(entries, 10_000, 40, rng()),
        "open_loop": judged.section,
        "film": {"included": False, "reason": "no off-screen drawing here", "caption": ""},
        "data": {"sha256": "ab" * 32, "episodes": 20, "matches_model": True, "shared_starts": 0},
        "identity": {
            "written": "2026-01-01 00:00 UTC",
            "wall_seconds": 12.5,
            "model": {"sha256": "cd" * 32, "parameters": 1234},
            "policies": {},
            "machine": {"cores": 2},
            "versions": {"wm_gym": "0.1.0"},
            "seeds": {"report": 0},
            "commands": [{"makes": "this report", "command": "python benchmarks/compare_physics.py a=<b>"}],
        },
        "limits": report.limits(task, "committed"),
    }
    found["warnings"] = report.warnings(found)
    found["headline"], found["summary"] = report.headline(found), report.summary(found)
    return report.plain(found)


class Page(HTMLParser):
    """Checks that tags nest, and gathers what the page shows."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.problems, self.numbers, self.text, self.addresses = [], [], [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "data":
            self.numbers.append(float(known["value"]))
        self.addresses += [known[key] for key in ("src", "href", "poster") if key in known]

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"{tag} closed at {self.getpos()}")

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


def every_number(value):
    if isinstance(value, dict):
        return {number for entry in value.values() for number in every_number(entry)}
    if isinstance(value, list):
        return {number for entry in value for number in every_number(entry)}
    return {float(value)} if isinstance(value, int | float) and not isinstance(value, bool) else set()


def test_the_page_shows_the_numbers_of_the_json(values):
    stored = every_number(json.loads(json.dumps(values, allow_nan=False)))
    shown = Page(page.render_page(values, None))
    assert len(shown.numbers) > 60
    assert set(shown.numbers) <= stored
    for row in values["returns"]["pooled"] + values["returns"]["contenders"]:
        assert {row["physical"][key] for key in ("value", "low", "high")} <= set(shown.numbers)


def test_the_page_is_well_formed_and_needs_nothing_from_outside(values, world):
    line = np.arange(4.0)[:, None] * np.ones(2)
    pair = (world.make_episode(line), world.make_episode(line))
    film = make_film([pair], lambda o: np.full((64, 64, 3), 90, dtype=np.uint8), "")
    text = page.render_page({**values, "film": {"included": True, "reason": "", "caption": "One start."}}, film)
    found = Page(text)
    assert found.problems == [] and found.open == []
    assert found.addresses and all(address.startswith("data:") for address in found.addresses)
    assert "<script" not in text and "@import" not in text and "url(" not in text
    assert "<smooth>" not in text and "&lt;smooth&gt;" in text
    assert "a=<b>" in found.text


def test_every_figure_is_well_formed_and_inside_its_frame(values):
    text = page.render_page(values, None)
    drawings = ["<svg" + part.split("</svg>")[0] + "</svg>" for part in text.split("<svg")[1:]]
    assert len(drawings) == 10  # five figures, each in two cuts
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
        for node in root.iter():
            for name, limit in (
                ("x", width),
                ("cx", width),
                ("x1", width),
                ("x2", width),
                ("y", height),
                ("cy", height),
            ):
                assert -0.5 <= float(node.attrib.get(name, 0)) <= limit + 0.5


def test_the_headline_says_what_was_found(values):
    assert "mean of 2 training seeds" in values["headline"]
    assert values["headline"].endswith("2.00 too much.")
    assert "better than what acted in the data and random actions" in values["summary"]
    assert "not told apart from the policy trained in MuJoCo" in values["summary"]


def test_warnings_follow_from_the_figures(values):
    # A gap of 2 is small beside the range of 37 that the task offers; there are forty episodes and two training seeds.
    # But the little world is linear, so that the linear model is exact and the drifting one is not.
    assert values["warnings"] == ["After 10 steps the model is worse than the best naive guess, linear model (ARX)."]
    values["returns"]["contenders"][0]["gap"] = {"value": 9.0, "low": 8.0, "high": 10.0}
    values["returns"]["contenders"][1]["imagined_length"] = 65.0
    values["data"] |= {"matches_model": False, "shared_starts": 3}
    values["returns"]["episodes"] = 10
    found = "\n".join(report.warnings(values))
    for expected in ("promises 9.00 more", "end 30% later", "hashes differ", "a leak", "Only 10 episodes"):
        assert expected in found


def test_a_report_without_policies_speaks_of_the_predictions(values):
    section = values["returns"]
    section["contenders"] = [row for row in section["contenders"] if row["kind"] != "imagination"]
    section["pooled"], section["comparisons"] = [], []
    assert "stay within 0.3" in report.headline(values)
    assert report.summary(values) == ""
    assert Page(page.render_page(values, None)).problems == []


def test_open_loop_section_of_an_almost_exact_model(values):
    section = values["open_loop"]
    assert [row["horizon"] for row in section["table"]] == [1, 10]
    last = section["table"][-1]
    # 0.02 h in each of two numbers, over the data's standard deviations.
    scale = 0.2 / last["model"]["value"]
    assert section["predictors"][0]["curve"]["value"] == pytest.approx(
        [0.02 * h / scale for h in range(1, 11)], rel=1e-3
    )
    assert last["best_baseline_name"] == "linear model (ARX)"
    assert section["valid_time"]["censored"]
    assert len(section["dimensions"]) == 2 and section["still"] == []


def test_numbers_are_named_as_far_as_they_are_known():
    described = ObservationMap(
        sin_cos=((2, 0),), quaternions=(5,), angles=(9,), qpos=({"kind": "linear", "index": 4, "offset": 0.0},)
    )
    labels = [open_loop.number_label(index, described) for index in (0, 2, 4, 6, 9, 1)]
    assert labels == ["0: cosine of angle 1", "2: sine of angle 1", "4: position 1", "6: quaternion x", "9: angle", "1"]


def test_what_is_not_finite_becomes_null():
    assert report.plain({"a": np.array([1.0, np.nan]), "b": (np.float32(2.0), np.inf)}) == {
        "a": [1.0, None],
        "b": [2.0, None],
    }
