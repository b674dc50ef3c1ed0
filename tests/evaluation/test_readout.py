import numpy as np
import pytest

from wm_gym.errors import DataError
from wm_gym.evaluation.readout import LabelledFrames, place_of, train_readout
from wm_gym.physics.tasks import task_spec
from wm_gym.types import Episode


def test_it_reads_where_the_dot_is(moving_dot):
    x = np.random.default_rng(0).uniform(-1, 1, 300)
    frames, places = moving_dot.frames(x), 100 * x[:, None]
    training = LabelledFrames(frames, np.arange(200), places[:200])
    validation = LabelledFrames(frames, np.arange(200, 300), places[200:])
    readout = train_readout(training, validation, updates=80, seed=0)
    told = readout.places(frames[200:].reshape(20, 5, 16, 16, 3))
    assert told.shape == (20, 5, 1)
    assert np.median(np.abs(told.reshape(-1) - places[200:, 0])) < 8  # of 200 that it moves over


def test_the_fingertip_and_the_pole():
    none = np.zeros((1, 2), np.float32)
    observation = np.zeros((2, 10), np.float32)
    observation[:, 4:6], observation[:, 8:10] = (0.1, -0.1), (0.05, 0.0)
    reacher = Episode(observation, none, none[0, :1], False, True, 0.02)
    fingertip = place_of(task_spec("reacher"))
    assert (fingertip.name, fingertip.unit) == ("fingertip", "mm")
    assert fingertip.of(reacher)[0].tolist() == pytest.approx([150, -100])
    pole = place_of(task_spec("inverted_pendulum"))
    tilted = Episode(np.full((2, 4), np.pi / 6, np.float32), none, none[0, :1], False, True, 0.04)
    assert pole.of(tilted)[:, 0].tolist() == pytest.approx([30, 30])
    with pytest.raises(DataError, match="no read-out is known for hopper"):
        place_of(task_spec("hopper"))
