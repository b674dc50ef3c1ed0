from dataclasses import replace

import numpy as np
import pytest

from wm_gym.physics.camera import why_no_camera
from wm_gym.physics.collect import Job, Recorder
from wm_gym.physics.pixels import make_pixels
from wm_gym.physics.tasks import task_spec
from wm_gym.types import CameraSpec

pytestmark = pytest.mark.skipif(why_no_camera() is not None, reason="no off-screen drawing here")


def test_it_shows_what_a_recording_shows():
    task = task_spec("reacher")
    recorder = Recorder(task)
    episode = recorder.record(Job("random", 0, seed=0, limit=3))
    recorder.close()
    env = make_pixels(task)
    (film,) = episode.frames.values()
    first, _ = env.reset(seed=episode.seed)
    assert env.observation_space.contains(first) and np.array_equal(first, film[0])
    for action, frame in zip(episode.actions, film[1:], strict=True):
        assert np.array_equal(env.step(action)[0], frame)
    env.close()


def test_several_cameras_are_a_mapping():
    task = task_spec("inverted_pendulum")
    wide = CameraSpec("wide", width=48, height=32)
    env = make_pixels(replace(task, cameras=(*task.cameras, wide)))
    shown, _ = env.reset(seed=0)
    assert shown in env.observation_space and shown["wide"].shape == (32, 48, 3)
    env.close()
