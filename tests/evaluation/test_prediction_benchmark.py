"""The benchmark's figures in a world whose errors are known by hand."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from wm_gym.evaluation import baselines, prediction_benchmark
from wm_gym.evaluation.held_out import stack_windows
from wm_gym.evaluation.prediction import Predicted, Scale, imagine_open_loop
from wm_gym.evaluation.prediction_benchmark import Predictor, measure_prediction
from wm_gym.evaluation.prediction_chart import draw_prediction, write_chart

UNIT = Scale(np.ones(2), (0, 1), 1.0)


@pytest.fixture
def windows(episodes):
    return stack_windows(episodes, stride=5, horizon=10)


@pytest.fixture
def measure(windows, task):
    held_out, origins = windows

    def measure(model, *others):
        naive = Predictor("persistence", "baseline", "nothing changes", [Predicted(baselines.persistence(held_out))])
        generator = np.random.default_rng(0)
        return measure_prediction([model, naive, *others], held_out, origins.tolist(), UNIT, task, generator)

    return measure


def off(held_out, size, identifier="floor", kind="floor"):
    """A predictor that is off by ``size`` everywhere."""
    return Predictor(identifier, kind, identifier, [Predicted(held_out.truth + size, held_out.future_rewards)])


def drifting(world, held_out, *drifts):
    """The world model off by ``drift`` times the step, one seed for each drift."""
    seeds = [imagine_open_loop(world.Model(drift=drift), held_out) for drift in drifts]
    return Predictor("wm_gym", "model", "wm_gym", seeds)


def test_figures_of_a_drifting_model(world, windows, measure):
    values = measure(drifting(world, windows[0], 0.045), off(windows[0], 0.1))
    model, _, floor = values["predictors"]
    assert model["curve"]["value"] == pytest.approx(0.045 * np.arange(1, 11), abs=1e-5)
    assert model["curve"]["low"] == pytest.approx(model["curve"]["high"], abs=1e-5)
    # 0.045 h is above 0.3 from the seventh step on; of the windows of 10, 6 and 1 steps only the first get there.
    assert model["valid_time"]["mean"]["value"] == pytest.approx(7.0)
    assert model["valid_time"]["median"] == {
        "steps": 7, "low": 7, "high": 7, "censored": False, "high_censored": False
    }  # fmt: skip
    assert floor["valid_time"]["mean"]["value"] == pytest.approx(10.0) and floor["valid_time"]["still_valid"] == 1.0
    assert floor["valid_time"]["median"]["censored"] is True
    assert values["valid_time_ratios"]["floor"] == pytest.approx({"value": 0.7, "low": 0.7, "high": 0.7})
    assert values["windows"] == [60, 40, 40, 40, 40, 40, 20, 20, 20, 20] and values["episodes"] == [20] * 10
    assert [row["horizon"] for row in values["table"]] == [1, 10]
    assert values["dimensions"][1]["errors"]["10"]["wm_gym"]["value"] == pytest.approx(0.45, abs=1e-5)


def test_seeds_are_averaged_and_widen_the_interval(world, windows, measure):
    values = measure(drifting(world, windows[0], 0.0, 0.05))
    curve = values["predictors"][0]["curve"]
    assert values["predictors"][0]["seeds"] == 2
    assert curve["value"] == pytest.approx(0.025 * np.arange(1, 11), abs=1e-5)
    assert (curve["low"][0], curve["high"][0]) == pytest.approx((0.0, 0.05), abs=1e-5)


def test_skill_is_measured_against_the_best_baseline(world, windows, measure):
    held_out, _ = windows
    rival = off(held_out, 0.2, "better", "baseline")
    values = measure(drifting(world, held_out, 0.05), rival)
    assert values["skill"]["best_baseline"] == ["better"] * 10
    assert values["skill"]["value"] == pytest.approx(1 - 0.25 * np.arange(1, 11), abs=1e-4)
    assert values["verdict"]["skill_above_zero"] is False
    assert values["verdict"]["at_horizon"] == 10 and values["verdict"]["judged_horizons"] == 10
    assert measure(drifting(world, held_out, 0.0), rival)["verdict"]["skill_above_zero"] is True


def test_a_horizon_that_the_physics_itself_does_not_predict_is_drawn_but_not_judged(world, windows, measure):
    held_out, _ = windows
    floor = Predictor("floor", "floor", "floor", [imagine_open_loop(world.Model(drift=0.09), held_out)])
    values = measure(drifting(world, held_out, 0.05), floor)
    assert values["judged"] == [True] * 5 + [False] * 5  # 0.09 h stays within 0.5 for five steps
    assert values["verdict"]["judged_horizons"] == 5
    assert values["table"][-1]["judged"] is False and values["table"][-1]["errors"]["wm_gym"]["value"] > 0


def test_a_horizon_that_few_episodes_reach_is_not_judged(world, episodes, task):
    few = [*episodes[:9], *(world.make_episode(episode.observations[:6]) for episode in episodes[9:])]
    held_out, origins = stack_windows(few, stride=20, horizon=11)
    naive = Predictor("persistence", "baseline", "nothing changes", [Predicted(baselines.persistence(held_out))])
    values = measure_prediction(
        [drifting(world, held_out, 0.0), naive], held_out, origins.tolist(), UNIT, task, np.random.default_rng(0)
    )
    assert values["judged"] == [True] * 4 + [False] * 7
    assert prediction_benchmark.ENOUGH_EPISODES == 10
    # Nor are valid times counted beyond: the exact model's is at least four steps, not eleven.
    assert values["valid_time_limit"] == 4
    assert values["predictors"][0]["valid_time"]["mean"]["value"] == pytest.approx(4.0)


def test_a_prediction_that_breaks_is_counted_and_scored_as_a_failure(world, windows, measure):
    broken = [imagine_open_loop(world.Model(break_at=1e-9), windows[0])]
    values = measure(Predictor("wm_gym", "model", "wm_gym", broken))
    assert values["predictors"][0]["failures"] == 60
    assert values["predictors"][0]["curve"]["value"] == pytest.approx([10.0] * 10)
    assert values["predictors"][0]["valid_time"]["mean"]["value"] == 1.0


def test_the_chart_holds_every_curve_and_marks_what_is_not_judged(world, windows, measure, tmp_path):
    held_out, _ = windows
    floor = Predictor("floor", "floor", "the floor", [imagine_open_loop(world.Model(drift=0.1), held_out)])
    values = measure(drifting(world, held_out, 0.05), floor, off(held_out, 0.2, "mbrl", "rival"))
    write_chart(tmp_path / "chart.svg", values, "point")
    drawn = (tmp_path / "chart.svg").read_text()
    root = ElementTree.fromstring(drawn)
    texts = [node.text for node in root.iter() if node.tag.endswith("text")]
    assert {"wm_gym", "nothing changes", "the floor", "mbrl"} <= set(texts) and texts.count("not judged") == 1
    curves = [node.get("class") for node in root.iter() if (node.get("class") or "").startswith("curve ")]
    assert curves == ["curve baseline persistence", "curve floor floor", "curve rival mbrl", "curve model wm_gym"]
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")
    everything_judged = draw_prediction(values | {"judged": [True] * 10}, "point")
    assert "not judged" not in everything_judged
