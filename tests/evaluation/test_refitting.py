"""A fit on a changed robot's data moves the model towards it, and leaves the first one alone."""

import numpy as np
import torch

from wm_gym.data.segments import Windows
from wm_gym.evaluation.refitting import refit
from wm_gym.models import TrainedModel
from wm_gym.models.open_loop import rollout_error
from wm_gym.models.state_ensemble import StateEnsemble, StateEnsembleConfig
from wm_gym.types import BoxSpec, Episode, TaskSpec

TASK = TaskSpec("line", BoxSpec((-9.0,), (9.0,)), BoxSpec((-1.0,), (1.0,)), 0.1, 20)


def episodes(gain, count, seed):
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        actions = generator.uniform(-1, 1, size=(20, 1)).astype(np.float32)
        states = np.concatenate([np.zeros((1, 1)), gain * np.cumsum(actions, axis=0)]).astype(np.float32)
        found.append(Episode(states, actions, np.zeros(20, np.float32), False, True, 0.1))
    return found


def test_it_learns_a_weaker_motor():
    torch.manual_seed(0)
    model = StateEnsemble(TASK, StateEnsembleConfig(members=2, width=64, layers=1))
    model.fit_scales(episodes(1.0, 20, 0))
    trained = TrainedModel(model.requires_grad_(False), None, None, None, {})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    weak = next(iter(Windows(episodes(0.5, 10, 1), 10).all(10)))
    changed = refit(trained, episodes(0.5, 15, 2), updates=400, seed=0)
    assert rollout_error(changed.model, weak).mean() < 0.6 * rollout_error(model, weak).mean()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in changed.model.parameters())
