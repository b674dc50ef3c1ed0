"""The page: the same numbers as the JSON, well-formed, and nothing from outside."""

import copy
import json
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest

from wm_gym.evaluation.film import make_film
from wm_gym.evaluation.page import render_page

VOID = {"meta", "img", "br", "input", "link", "circle", "path", "line"}


@pytest.fixture
def values(small_report):
    return copy.deepcopy(small_report.values)


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
    shown = Page(render_page(values, None))
    assert len(shown.numbers) > 100
    assert set(shown.numbers) <= stored
    for section, figure in (("ranking", "spearman"), ("planning", "gap"), ("actions", "sensitivity")):
        assert {values[section][figure][key] for key in ("value", "low", "high")} <= set(shown.numbers)


def test_trained_policies_have_a_table_of_their_own(values):
    found = values["ranking"]
    assert "0 trained policies have no order to speak of." in Page(render_page(values, None)).text
    figures = {name: entry for name, entry in found.items() if name in found["floor"]}
    found["trained_alone"] = {**figures, "tested": True, "policies": 5, "range": 0.125, "floor": found["floor"]}
    shown = Page(render_page(values, None))
    assert shown.problems == [] and "The trained policies alone" in shown.text and 0.125 in shown.numbers
    assert shown.numbers.count(found["spearman"]["value"]) >= 2


def test_verdicts_stand_at_the_top_in_words(values):
    text = Page(render_page(values, None)).text
    head = text[: text.index("Does it rank policies")]
    for use in ("Rank policies", "Train a policy", "Plan", "Augment data"):
        assert use in head
    for entry in values["verdicts"].values():
        assert entry["verdict"] in head


def test_the_page_is_well_formed_and_needs_nothing_from_outside(values, world):
    line = np.arange(4.0)[:, None] * np.ones(2)
    pair = (world.make_episode(line), world.make_episode(line))
    film = make_film([pair], lambda o: np.full((64, 64, 3), 90, dtype=np.uint8), "")
    text = render_page(
        {**values, "film": {"included": True, "reason": "", "caption": "One start.", "stills": "Moments."}}, film
    )
    found = Page(text)
    assert found.problems == [] and found.open == []
    assert found.addresses and all(address.startswith("data:") for address in found.addresses)
    assert "<script" not in text and "@import" not in text and "url(" not in text
    assert "<fake>" not in text and "&lt;fake&gt;" in text
    assert "a=<b>" in found.text


def test_every_figure_is_well_formed_inside_its_frame_and_has_axes_with_units(values):
    text = render_page(values, None)
    drawings = ["<svg" + part.split("</svg>")[0] + "</svg>" for part in text.split("<svg")[1:]]
    assert len(drawings) == 16  # eight figures, each in two cuts
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
        assert 'class="label"' in drawing and 'class="tick"' in drawing


def test_a_law_that_was_not_measured_is_not_shown_as_kept(values):
    assert (
        values["physics"]["energy"]["tested"] and "ever had: not measured" not in Page(render_page(values, None)).text
    )
    values["physics"]["energy"] = {"tested": False, "reason": "the observation does not tell the velocities"}
    text = Page(render_page(values, None)).text
    assert "ever had: not measured, the observation does not tell the velocities." in text


def test_what_did_not_run_says_so(values):
    reason = {"tested": False, "reason": "this section was not asked for"}
    for name in ("ranking", "planning", "open_loop", "closed_loop", "physics", "robustness", "actions", "exploit"):
        values[name] = reason
    found = Page(render_page(values, None))
    assert found.problems == [] and found.text.count("NOT TESTED") >= 10
    assert "this section was not asked for." in found.text
