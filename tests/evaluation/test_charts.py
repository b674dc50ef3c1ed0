"""The parts of a figure, with positions and ticks worked by hand."""

import math
import re

import pytest

from wm_gym.evaluation import charts, figures, panel_charts
from wm_gym.evaluation.charts import Axis


def test_linear_positions_and_ticks():
    axis = Axis(0.0, 10.0, 100.0, 200.0)
    assert [axis(v) for v in (0, 2.5, 10, 99, -5)] == [100.0, 125.0, 200.0, 200.0, 100.0]
    assert axis.ticks(5) == pytest.approx([0, 2, 4, 6, 8, 10])


def test_ticks_stay_inside():
    assert Axis(-43.7, -4.2, 0.0, 1.0).ticks(4) == pytest.approx([-40, -30, -20, -10])
    assert Axis(-43.7, -4.2, 0.0, 1.0).ticks(2) == pytest.approx([-40, -20])


def test_logarithmic_positions_and_ticks():
    axis = Axis(0.01, 100.0, 400.0, 0.0, logarithmic=True)
    assert [axis(v) for v in (0.01, 1.0, 100.0)] == pytest.approx([400.0, 200.0, 0.0])
    assert axis.ticks() == pytest.approx([0.01, 0.1, 1, 10, 100])


def test_decades_hold_the_values():
    assert charts.decades([0.02, 3.0, math.nan, 0.0]) == pytest.approx((1e-4, 10.0))
    assert charts.decades([1.0]) == pytest.approx((1.0, 10.0))


@pytest.mark.parametrize(
    ("value", "text"),
    [(-5.4321, "-5.43"), (0.0, "0"), (43.04, "43.0"), (0.000123, "0.000123"), (1234.5, "1234"), (math.nan, "\u2013")],
)
def test_numbers_are_rounded_for_readers(value, text):
    assert charts.shown(value) == text.replace("-", "\u2212")


def test_labels_are_moved_apart_in_order():
    placed = charts.spread_labels([50.0, 52.0, 51.0, 200.0], gap=10.0, low=0.0, high=205.0)
    assert placed[0] < placed[2] < placed[1] < placed[3] <= 205.0
    assert min(b - a for a, b in zip(sorted(placed), sorted(placed)[1:], strict=False)) >= 10.0


def test_labels_stay_below_the_top():
    assert charts.spread_labels([99.0, 100.0], gap=10.0, low=0.0, high=100.0) == [90.0, 100.0]


def test_text_is_escaped():
    assert "<script>" not in charts.text(0, 0, "<script>") + charts.circle(0, 0, 1, "x", "<script>")


def test_every_kind_has_a_shape_of_its_own_and_axes_have_units():
    figure = {"value": 1.0, "low": 0.5, "high": 1.5}
    panel = [
        {"name": kind, "kind": kind, "physical": figure, "imagined": figure}
        for kind in ("trained", "scripted", "random", "adversarial")
    ]
    drawn = panel_charts.panel_scatter(panel, 500.0)
    assert drawn.count("<circle") == 2 and drawn.count("<path") == 6  # each on the diagonal, and in the legend
    shapes = {re.sub("[^A-Za-z]", "", path) for path in re.findall(r' d="([^"]*)"', drawn)}
    assert shapes == {"MLLLZ", "MhvhZ", "MLLZ"}
    rows = [
        {"name": kind, "kind": kind, "physical_returns": [1.0, 2.0], "imagined_returns": [1.0, 3.0]}
        for kind in figures.KIND_NAMES
    ]
    scatter = figures.return_scatter(rows, 500.0)
    assert scatter.count("<circle") == 3 and scatter.count("<path") == 9
    for text in ("return in MuJoCo (sum of rewards)", "imagined return (sum of rewards)"):
        assert text in drawn and text in scatter
