import numpy as np
import pytest

from wm_gym.evaluation.camera_trial import show_trial, trial_figures


def test_what_filtering_costs_is_a_share_of_the_imagined_return(capsys):
    returns = {"imagined": np.array([-10.0, -20.0]), "refiltered": np.array([-11.0, -24.0])}
    trial = trial_figures(returns | {"physical": np.array([-12.0, -30.0])}, np.random.default_rng(0))
    assert trial["physical"]["value"] == -21 and trial["physical_returns"] == [-12.0, -30.0]
    assert trial["filtering_costs"]["value"] == pytest.approx(2.5 / 15)
    assert trial["filtering_costs"]["low"] == pytest.approx(1 / 15)
    show_trial(trial)
    shown = capsys.readouterr().out
    assert "MuJoCo, from the camera" in shown and "filtering costs 16.7% [6.7%, 26.7%]" in shown


def test_a_robot_alone_tells_nothing_of_filtering(capsys):
    trial = trial_figures({"physical": np.array([1.0, 3.0])}, np.random.default_rng(0))
    show_trial(trial)
    assert "filtering_costs" not in trial and "filtering" not in capsys.readouterr().out
