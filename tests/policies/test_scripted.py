import json

import numpy as np
import pytest

from wm_gym.errors import ModelError
from wm_gym.policies.scripted import ScriptedPolicy, load_script, write_scripts
from wm_gym.types import BoxSpec

BOX = BoxSpec((-2.0, 0.0), (2.0, 1.0))
EPISODES = np.arange(3)


def _actions(script, steps):
    observation = np.zeros((3, 5))
    return np.stack([script.act(observation, EPISODES, step) for step in range(steps)])


def test_an_action_worked_by_hand():
    """One dimension: 0.5 + 2 sin(2 pi step / 4 + pi / 2), at most 1."""
    script = ScriptedPolicy((-9.0,), (1.0,), (0.5,), (2.0,), (np.pi / 2,), (0.0,), period=4.0)
    actions = _actions(script, 5)
    assert actions.shape == (5, 3, 1) and actions.dtype == np.float32
    np.testing.assert_allclose(actions[:, 1, 0], [1.0, 0.5, -1.5, 0.5, 1.0], atol=1e-6)


def test_the_four_scripts_of_a_space():
    scripts = write_scripts(BOX, 0.05, seed=3)
    assert list(scripts) == ["zero", "constant", "sine", "random"]
    acted = {name: _actions(script, 100) for name, script in scripts.items()}
    assert not acted["zero"].any()
    assert (acted["constant"] == acted["constant"][0, 0]).all() and acted["constant"].any()
    sine = acted["sine"]
    np.testing.assert_allclose(sine[:90], sine[10:], atol=1e-5)  # twice a second is every ten steps
    np.testing.assert_allclose((sine.max(axis=(0, 1)) + sine.min(axis=(0, 1))) / 2, [0.0, 0.5], atol=0.1)
    for actions in acted.values():
        assert (actions >= BOX.low).all() and (actions <= BOX.high).all()


def test_random_actions_fill_the_space_and_belong_to_seed_episode_and_step():
    random = write_scripts(BOX, 0.05, seed=3)["random"]
    drawn = _actions(random, 500)
    np.testing.assert_allclose(drawn.mean(axis=(0, 1)), [0.0, 0.5], atol=0.08)
    np.testing.assert_allclose(drawn.std(axis=(0, 1)), [4 / 12**0.5, 1 / 12**0.5], rtol=0.05)
    np.testing.assert_array_equal(random.act(np.ones((1, 5)), np.array([2]), 7), drawn[7, 2:])
    assert not np.allclose(drawn, _actions(write_scripts(BOX, 0.05, seed=4)["random"], 500))


def test_an_action_without_bounds_is_taken_within_one_unit():
    endless = write_scripts(BoxSpec((-np.inf,), (np.inf,)), 0.05, seed=0)["random"]
    assert 0.9 < np.abs(_actions(endless, 200)).max() <= 1


def test_a_script_comes_back_from_its_file_and_damage_is_named(tmp_path):
    script = write_scripts(BOX, 0.05, seed=3)["sine"]
    script.save(tmp_path)
    path = tmp_path / "script.json"
    assert load_script(path) == script
    good = json.loads(path.read_text())
    for change in ({"period": 0}, {"low": [0.0]}, {"offset": ["a", 1]}, {"noise": None}, {"call": "me"}, {"seed": -1}):
        path.write_text(json.dumps(good | change))
        with pytest.raises(ModelError, match=r"script\.json"):
            load_script(path)
