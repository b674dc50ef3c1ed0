"""A camera model with random weights: enough for what the faces do with it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from wm_gym.models import TrainedModel
from wm_gym.models.camera_world import CameraWorld, CameraWorldConfig
from wm_gym.models.trained import StartStates
from wm_gym.models.trust import Calibration, Support

SMALL = CameraWorldConfig(
    size=3, points=1, channels=(4, 8), memory=4, members=2, width=8, layers=1, judge_width=8, judge_layers=1, context=2
)


@pytest.fixture
def make_seen(moving_dot):
    """``make_seen(task, proprioception)`` -> a TrainedModel of the dot: vectors of 3 numbers a camera, and 4."""

    def make(task=moving_dot.task, proprioception=False):
        torch.manual_seed(0)
        world = CameraWorld(task, replace(SMALL, proprioception=proprioception)).eval().requires_grad_(False)
        size, rng = world.embedding_size, np.random.default_rng(0)
        walks = [np.cumsum(rng.normal(size=(21, size)), 0).astype(np.float32) for _ in range(8)]
        episodes = [replace(moving_dot.episode(seed), observations=walk) for seed, walk in enumerate(walks)]
        world.fit_scales(episodes)
        initial = torch.from_numpy(np.stack([walk[:1] for walk in walks]))
        moments = torch.from_numpy(np.stack([walk[3:6] for walk in walks]))
        states = torch.from_numpy(np.concatenate([walk[1:] for walk in walks]))
        actions = torch.from_numpy(np.concatenate([episode.actions for episode in episodes]))
        return TrainedModel(
            model=world,
            starts=StartStates(initial, torch.zeros(8, 0, 1), moments, torch.zeros(8, 2, 1)),
            support=Support.measure(states, actions),
            calibration=Calibration.proportional(2.0, 10),
            manifest={"files": {}, "dataset": {"steps": 160}},
        )

    return make


@pytest.fixture
def seen_dot(make_seen):
    return make_seen()
