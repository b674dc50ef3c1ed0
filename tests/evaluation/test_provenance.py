"""What a report says of the data behind a model."""

from dataclasses import replace

import numpy as np
import torch

from wm_gym.evaluation.provenance import coverage, describe_data
from wm_gym.evaluation.trajectories import Recorded
from wm_gym.models.trust import Support
from wm_gym.testing.inputs import make_model
from wm_gym.types import Episode


def test_coverage_is_the_share_of_physical_steps_that_look_like_the_recorded():
    trained = make_model()
    states, actions = trained.task.observation_space.size, trained.task.action_space.size
    size = states + actions
    box = Support(-torch.ones(size), torch.ones(size), torch.zeros(size), torch.eye(size), torch.tensor(100.0))
    trained = replace(trained, support=box)
    observations = np.zeros((5, states), np.float32)
    observations[4] = 2.0  # the last of four steps leads out of the box
    none = np.zeros(4, np.float32)
    episode = Episode(observations, np.zeros((4, actions), np.float32), none, False, True, 0.1)
    assert coverage(trained, [episode, episode]) == {"physical_steps": 8, "share_like_the_recorded": 0.75}
    assert coverage(trained, []) is None
    kept = [Recorded("closed_loop", "imagination", "p", [episode]), Recorded("closed_loop", "physics", "p", [episode])]
    assert describe_data(trained, None, kept)["coverage"]["physical_steps"] == 4
