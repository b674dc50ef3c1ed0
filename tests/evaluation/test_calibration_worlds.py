"""Changed robots and policies, on Reacher: it lies flat, so that gravity and friction do not move it."""

import numpy as np
import pytest

from wm_gym.evaluation.calibration_worlds import LARGER, NOMINAL, UNSEEN, LargerActor, play_changed
from wm_gym.physics.tasks import task_spec
from wm_gym.types import BoxSpec


class Constant:
    def act(self, observation, episodes, step):
        return np.full((len(episodes), 2), [0.4, -0.9], np.float32)


def test_larger_actions_stay_within_the_bounds():
    action = LargerActor(Constant(), BoxSpec((-1.0, -1.0), (1.0, 1.0))).act(np.zeros((1, 3)), np.array([0]), 0)
    assert action[0].tolist() == pytest.approx([0.6, -1.0])


def test_every_world_is_played_but_those_that_move_nothing():
    worlds = play_changed(task_spec("reacher", cameras=()), {}, np.ones(10), episodes=4, steps=14, seed=0)
    assert list(worlds)[:3] == [NOMINAL, LARGER, UNSEEN]
    lengths = {name: [len(episode) for episode in episodes] for name, episodes in worlds.items()}
    assert lengths.pop("gravity x 1.25") == lengths.pop("friction x 0.4") == []
    assert set(lengths) == {NOMINAL, LARGER, UNSEEN, "mass x 1.5", "actuator gain x 0.7"}
    assert all(found == [14] * 4 for found in lengths.values())
    first = {name: episodes[0].observations for name, episodes in worlds.items() if episodes}
    assert np.array_equal(first[NOMINAL][0], first["mass x 1.5"][0])  # the same start
    assert not np.allclose(first[NOMINAL][-1], first["mass x 1.5"][-1])
