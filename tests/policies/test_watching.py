"""A robot whose state is recorded while a policy acts on what its camera shows."""

import numpy as np
import pytest
import torch

from wm_gym.envs import LatentObservation
from wm_gym.models.camera_world import CameraWorld, CameraWorldConfig
from wm_gym.models.trained import StartStates, TrainedModel
from wm_gym.models.trust import Calibration, Support
from wm_gym.physics.camera import why_no_camera
from wm_gym.physics.collect import Recipe, record_episodes
from wm_gym.physics.pixels import make_pixels
from wm_gym.physics.tasks import make_physics, task_spec
from wm_gym.policies.watching import WatchedRobot, WatchingPolicy

pytestmark = pytest.mark.skipif(why_no_camera() is not None, reason="no off-screen drawing here")
TASK = task_spec("reacher")


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    shape = CameraWorldConfig(
        size=3, points=1, channels=(4,), memory=4, members=2, width=8, layers=1, judge_width=8, context=2
    )
    world = CameraWorld(TASK, shape).eval().requires_grad_(False)
    starts, none = torch.randn(4, 1, 3), torch.zeros(4, 0, 2)
    return TrainedModel(
        model=world,
        starts=StartStates(starts, none, starts, none),
        support=Support(-torch.ones(5), torch.ones(5), torch.zeros(5), torch.eye(5), torch.tensor(10.0)),
        calibration=Calibration.proportional(1.0, 10),
        manifest={},
    )


class Copying:
    """Acts as two numbers of the latent vector say."""

    def predict(self, vector, *, deterministic=True):
        return np.tanh(vector[:2]), None


def test_it_shows_the_state_and_filters_what_the_camera_shows(trained):
    robot, physics, seen = (
        WatchedRobot(TASK, trained),
        make_physics(TASK),
        LatentObservation(make_pixels(TASK), trained),
    )
    observation, _ = robot.reset(seed=3)
    assert np.array_equal(observation, physics.reset(seed=3)[0])
    assert np.array_equal(robot.vector, seen.reset(seed=3)[0])
    for action in np.random.default_rng(0).uniform(-1, 1, (4, 2)).astype(np.float32):
        observation, reward, *_ = robot.step(action)
        plain, wanted, *_ = physics.step(action)
        assert np.array_equal(observation, plain) and reward == wanted
        assert np.array_equal(robot.vector, seen.step(action)[0])
    for env in (robot, physics, seen):
        env.close()


def test_what_is_recorded_was_done_on_what_the_camera_showed(trained):
    robot, kept = WatchedRobot(TASK, trained), {}
    recipe = Recipe(60, 0, {"learnt": 1.0}, {"learnt": lambda: WatchingPolicy(Copying(), robot)})
    keys = record_episodes(TASK, recipe, kept.__setitem__, lambda key: None, {}, make=lambda _: robot)
    assert [len(kept[key]) for key in keys] == [50, 10]
    episode = kept[keys[0]]
    seen = LatentObservation(make_pixels(TASK), trained)
    vector, _ = seen.reset(seed=episode.seed)
    for action in episode.actions:
        np.testing.assert_array_equal(action, np.tanh(vector[:2]).astype(np.float32))
        vector, *_ = seen.step(action)
    seen.close()
    (camera,) = episode.frames
    assert episode.frames[camera].shape == (51, 64, 64, 3)
