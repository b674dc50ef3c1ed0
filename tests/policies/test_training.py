import numpy as np
import pytest
import torch

from wm_gym.errors import ConfigError
from wm_gym.policies import training
from wm_gym.policies.training import LearnConfig, learn

SETTINGS = {
    "ppo": {"n_steps": 8, "batch_size": 16, "n_epochs": 2},
    "sac": {"learning_starts": 20, "buffer_size": 500, "batch_size": 16, "gradient_steps": 1},
}


class InterruptedTrainingError(Exception):
    pass


def config(algorithm, **changes):
    values = {"algorithm": algorithm, "steps": 320, "num_envs": 4, "seed": 1, "settings": SETTINGS[algorithm]}
    return LearnConfig(**(values | changes))


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_an_interrupted_training_ends_with_the_same_policy(point_mass, tmp_path, monkeypatch, algorithm):
    monkeypatch.setattr(training, "_SAVE_EVERY", 0.0)
    whole = learn(config(algorithm), point_mass.task, point_mass, tmp_path / "whole")

    saves = []
    original = training._Keeper.save

    def save_and_stop(keeper):
        original(keeper)
        saves.append(keeper.num_timesteps)
        if keeper.num_timesteps >= 160:
            raise InterruptedTrainingError

    monkeypatch.setattr(training._Keeper, "save", save_and_stop)
    with pytest.raises(InterruptedTrainingError):
        learn(config(algorithm), point_mass.task, point_mass, tmp_path / "part")
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002  what another process would have found
    monkeypatch.setattr(training._Keeper, "save", original)
    resumed = learn(config(algorithm), point_mass.task, point_mass, tmp_path / "part")
    assert saves[-1] == 160
    for name, value in whole.policy.tensors.items():
        assert torch.equal(value, resumed.policy.tensors[name]), name
    assert resumed.steps == whole.steps == 320
    assert torch.equal(  # and the folder, still there, gives the same again without training
        learn(config(algorithm), point_mass.task, point_mass, tmp_path / "part").policy.tensors["bias.0"],
        whole.policy.tensors["bias.0"],
    )


def test_another_trainings_remains_are_not_taken_up(point_mass, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_SAVE_EVERY", 0.0)
    work = tmp_path / "work"
    keeper = training._Keeper(work, None, 10, {"seed": 1})
    keeper.resume(None)
    keeper.bar.close()
    with pytest.raises(ConfigError, match="other settings"):
        learn(config("ppo"), point_mass.task, point_mass, work)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"world": "dream"}, "world='dream'"),
        ({"steps": 0}, "steps=0"),
        ({"num_envs": -1}, "num_envs=-1"),
        ({"world": "physics"}, "has no simulator"),
    ],
)
def test_bad_settings_are_named(point_mass, tmp_path, changes, named):
    with pytest.raises(ConfigError, match=named):
        learn(config("ppo", **changes), point_mass.task, point_mass, tmp_path / "work")


def test_an_unknown_algorithm_is_named(point_mass, tmp_path):
    with pytest.raises(ConfigError, match="algorithm='dqn'"):
        learn(LearnConfig(algorithm="dqn"), point_mass.task, point_mass, tmp_path / "work")


def test_it_learns_to_stay_in_the_middle(point_mass, tmp_path):
    """The reward is minus the square of the position: pushing back is worth learning."""
    settings = {"n_steps": 20, "batch_size": 256, "n_epochs": 5}
    learned = learn(
        LearnConfig("ppo", "imagination", 40_000, 64, 0, settings, {}), point_mass.task, point_mass, tmp_path / "work"
    )
    assert learned.curve[-1]["return"] > learned.curve[0]["return"] / 2
    push, _ = learned.policy.predict(np.array([[0.7, 0.0], [-0.7, 0.0]]))
    assert push[0] < 0 < push[1]
