import json

import numpy as np
import pytest

from wm_gym.errors import DataError
from wm_gym.evaluation.learning import compare_again, compare_learning, read_learner
from wm_gym.evaluation.learning_chart import draw_learning, draw_progress

MACHINE = {"processor": "a CPU", "cores": 2}


def left(tmp_path, seed, returns, points, steps=100, **others):
    """A folder as a training leaves it."""
    folder = tmp_path / f"{'control' if 'trial' in others else 'inside'}_{seed}"
    folder.mkdir()
    record = {
        "task": "arm",
        "seed": seed,
        "real_steps": steps,
        "physical_returns": returns,
        "curve": [
            {"steps": at, "physical": physical} | ({} if dream is None else {"imagined": dream})
            for at, physical, dream in points
        ],
        "wall_seconds": 60.0 * (seed + 1),
        "settings": {"seed": seed, "rounds": 2},
        "algorithm": "rounds",
        "command": "python a.py",
        "machine": MACHINE,
    } | others
    (folder / "result.json").write_text(json.dumps(record))
    return read_learner(folder)


def sides(tmp_path):
    inside = [
        left(tmp_path, 0, [4.0, 6.0], [(50, [1.0, 3.0], 8.0), (100, [4.0, 6.0], 6.0)]),
        left(tmp_path, 1, [8.0, 8.0], [(50, [2.0, 2.0], 5.0), (75, [3.0, 3.0], 5.0), (100, [8.0, 8.0], 8.0)]),
    ]
    trial = {"algorithm": "sac", "world": "physics", "trial": {"sac": {"physical_returns": [3.0, 5.0]}}}
    control = [left(tmp_path, 0, [], [(150, [2.0], None), (300, [4.0], None)], 300, **trial)]
    return inside, control


def test_means_difference_and_excess_by_hand(tmp_path):
    values = compare_learning(*sides(tmp_path))
    assert values["task"] == "arm"
    assert values["inside"]["return"]["value"] == 6.5 and values["control"]["return"]["value"] == 4.0
    assert values["minus_control"]["value"] == 2.5
    assert values["minus_control"]["low"] < 2.5 < values["minus_control"]["high"]
    assert [(point["steps"], point["value"]) for point in values["inside"]["curve"]] == [(50, 2.0), (100, 6.5)]
    assert [(point["steps"], point["value"]) for point in values["excess"]] == [(50, 4.5), (100, 0.5)]
    low, high = values["excess"][0]["low"], values["excess"][0]["high"]
    assert low == 3.0 and 6.0 <= high <= 7.0  # the gaps of the episodes are 7 and 5, and 3 and 3
    assert values["inside"]["wall_seconds"] == 90.0 and values["inside"]["real_steps"] == 100


def test_starts_that_all_share_are_drawn_once(tmp_path):
    """Both sides earn x on a start where the first is worth 10 and the second 0: their difference is certain."""
    trial = {"algorithm": "sac", "world": "physics", "trial": {"sac": {"physical_returns": [8.0, -2.0]}}}
    inside = [left(tmp_path, seed, [10.0, 0.0], [(50, [5.0], 5.0)]) for seed in (0, 1)]
    control = [left(tmp_path, 0, [], [(150, [3.0], None)], 300, **trial)]
    values = compare_learning(inside, control)
    assert values["minus_control"] == {"value": 2.0, "low": 2.0, "high": 2.0}
    assert (values["inside"]["return"]["low"], values["inside"]["return"]["high"]) == (0.0, 10.0)


def test_the_chart_shows_both_sides_and_their_seeds(tmp_path):
    drawn = draw_learning(compare_learning(*sides(tmp_path)), "arm")
    assert "with a world model (2 seeds)" in drawn and "SAC in MuJoCo (1 seed)" in drawn
    assert "with a world model, 100 real steps: 6.50 [" in drawn


def test_the_gap_of_one_agent_is_drawn_over_its_real_steps():
    curve = [{"steps": 50, "physical": [1.0, 3.0], "imagined": 8.0}, {"steps": 100, "physical": [4.0], "imagined": 6.0}]
    drawn = draw_progress(curve, "arm")
    assert "imagined, 50 steps: 8.00" in drawn and "in MuJoCo, 100 steps: 4.00" in drawn
    assert "imagined minus physical, 50 steps: 6.00" in drawn and "imagined minus physical, 100 steps: 2.00" in drawn


def test_what_cannot_be_compared_is_named(tmp_path):
    inside, control = sides(tmp_path)
    with pytest.raises(DataError, match="seeds \\[0, 0\\]"):
        compare_learning([inside[0], inside[0]], control)
    with pytest.raises(DataError, match="0 and 3 of one side differ in rounds"):
        compare_learning(
            [inside[0], left(tmp_path, 3, [1.0, 2.0], [(50, [1.0], 1.0)], settings={"rounds": 5})], control
        )
    with pytest.raises(DataError, match="is rounds, not SAC"):
        compare_learning(inside, [inside[0]])
    with pytest.raises(DataError, match="never imagined"):
        compare_learning(control, control)
    with pytest.raises(DataError, match="never tried after the same"):
        compare_learning([inside[0], left(tmp_path, 4, [1.0, 2.0], [(9, [1.0], 1.0)])], control)
    earlier = tmp_path / "learning_arm.json"
    earlier.write_text(json.dumps(compare_learning(inside, control)))
    with pytest.raises(DataError, match="about 2 episodes, seed 6 was tried for 1"):
        compare_again([left(tmp_path, 6, [1.0], [(9, [1.0], 1.0)])], earlier)
    (tmp_path / "other").mkdir()
    other = left(tmp_path / "other", 5, [1.0], [(10, [1.0], 1.0)], task="leg")
    with pytest.raises(DataError, match="arm, leg"):
        compare_learning([other], control)
    unmeasured = {"algorithm": "sac", "world": "physics", "trial": {"sac": {"physical_returns": [1.0]}}}
    with pytest.raises(DataError, match="measure_every=N"):
        left(tmp_path, 7, [], [], curve=[{"steps": 5, "return": 1.0}], **unmeasured)
    with pytest.raises(DataError, match="no trial"):
        left(tmp_path, 8, [1.0], [])


def test_longer_trials_count_by_the_starts_that_all_share(tmp_path):
    inside, control = sides(tmp_path)
    longer = left(tmp_path, 2, [8.0, 10.0, 90.0], [(100, [9.0], 9.0)], settings={"rounds": 2, "episodes": 3})
    found = compare_learning([inside[0], longer], control)
    assert [row["return"] for row in found["inside"]["seeds"]] == [5.0, 9.0]
    (tmp_path / "learning_arm.json").write_text(json.dumps(found))
    again = compare_again([longer], tmp_path / "learning_arm.json")
    assert again["inside"]["return"]["value"] == 9.0


def test_returns_stay_whole_numbers_of_the_record(tmp_path):
    inside, control = sides(tmp_path)
    kept = compare_learning(inside, control)["inside"]["seeds"]
    assert [row["returns"] for row in kept] == [[4.0, 6.0], [8.0, 8.0]] and np.isclose(kept[0]["return"], 5.0)
    assert kept[0]["curve"][0] == {"steps": 50, "physical": 2.0, "imagined": 8.0}
