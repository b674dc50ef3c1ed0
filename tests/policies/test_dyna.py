import numpy as np
import pytest

from wm_gym.errors import ConfigError
from wm_gym.files import read_json
from wm_gym.physics.tasks import make_physics, task_spec
from wm_gym.policies import dyna
from wm_gym.policies.dyna import DynaConfig, learn_from_scratch

TINY = {
    "warm_up": 100,
    "refit_every": 50,
    "first_fit": 30,
    "refit": 10,
    "width": 16,
    "imagined": 300,
    "updates_per_step": 1,
    "measure_every": 50,
    "episodes": 2,
    "settings": {"policy_kwargs": {"net_arch": [16]}, "batch_size": 32},
}


@pytest.fixture(scope="module")
def task():
    return task_spec("inverted_pendulum", cameras=())


def test_the_branch_grows_between_two_counts_of_real_steps():
    config = DynaConfig(branch=(1, 15), climb=(20_000, 150_000))
    assert [config.branch_steps(steps) for steps in (0, 20_000, 85_000, 150_000, 400_000)] == [1, 1, 8, 15, 15]


@pytest.mark.parametrize("wrong", [{"branch": (0, 1)}, {"climb": (5, 5)}, {"real_share": 0.0}, {"refit": 0}])
def test_a_setting_that_makes_no_sense_is_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        DynaConfig(**wrong).check()


def test_a_robot_is_learnt_and_an_interrupted_training_goes_on(task, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    config, work, saved, save = DynaConfig(steps=200, **TINY), tmp_path / "work", [], dyna._Loop._save

    def save_then_die(loop):
        save(loop)
        saved.append(loop.num_timesteps)
        if len(saved) == 2:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(dyna._Loop, "_save", save_then_die)
        with pytest.raises(Killed):
            learn_from_scratch(config, task, make_physics, work)
    with pytest.raises(ConfigError, match="other settings"):
        learn_from_scratch(DynaConfig(steps=300, **TINY), task, make_physics, work)
    result = learn_from_scratch(config, task, make_physics, work)
    assert saved == [100, 150] and [point["steps"] for point in result.curve] == [100, 150, 200]
    assert all(np.isfinite(point["imagined"]) and len(point["physical"]) == 2 for point in result.curve)
    assert result.learner.replay_buffer.filled > 0
    assert read_json(work / "checkpoint" / "curve.json")["curve"] == result.curve
