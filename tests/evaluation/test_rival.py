"""A rival's predictions survive the way through a folder, and only for the windows they were made for."""

import json

import numpy as np
import pytest

from wm_gym.errors import ModelError
from wm_gym.evaluation.prediction import Predicted
from wm_gym.evaluation.rival import read_rival, write_rival

IDENTITY = {"training": "a" * 64, "held_out": "b" * 64, "stride": 40, "context": 1, "horizon": 3, "windows": 2}


@pytest.fixture
def folder(tmp_path):
    states = np.arange(12.0).reshape(2, 3, 2)
    states[1, 2, 0] = np.nan
    folder = tmp_path / "rival"
    write_rival(folder, "mbrl 0.2.0", 5, Predicted(states, np.ones((2, 3))), IDENTITY, {"cpu_seconds": 60.0})
    return folder


def test_it_comes_back(folder):
    rival = read_rival(folder, IDENTITY)
    assert (rival.library, rival.seed, rival.details["cpu_seconds"]) == ("mbrl 0.2.0", 5, 60.0)
    assert rival.predicted.states[0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert rival.predicted.states[1, 2].tolist() == [np.inf, 11.0]  # a failure stays one
    assert rival.predicted.rewards.tolist() == [[1, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize(("name", "other"), [("held_out", "c" * 64), ("training", "c" * 64), ("stride", 20)])
def test_predictions_of_other_windows_are_refused(folder, name, other):
    with pytest.raises(ModelError, match=f"predicts other windows \\({name}"):
        read_rival(folder, IDENTITY | {name: other})


def test_changed_or_missing_predictions_are_refused(folder):
    path = folder / "predictions.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="changed since it was written"):
        read_rival(folder, IDENTITY)
    path.unlink()
    with pytest.raises(ModelError, match="missing"):
        read_rival(folder, IDENTITY)


def test_another_program_s_result_is_refused(folder):
    (folder / "result.json").write_text(json.dumps({"task": "reacher"}))
    with pytest.raises(ModelError, match="does not describe a rival"):
        read_rival(folder, IDENTITY)
