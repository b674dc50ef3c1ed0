"""The committed panels: each loads, is large enough to rank by, small enough to keep, and every policy acts."""

from pathlib import Path

import numpy as np
import pytest

from wm_gym.physics.tasks import task_spec
from wm_gym.policies.panel import load_panel

PANELS = sorted(Path(__file__).parents[2].glob("benchmarks/panels/*"))


@pytest.mark.parametrize("folder", PANELS, ids=[folder.name for folder in PANELS])
def test_a_panel_can_be_ranked_by(folder):
    panel, task = load_panel(folder), task_spec(folder.name, cameras=())
    assert sum(policy.kind == "trained" for policy in panel) >= 20
    assert {policy.kind for policy in panel} == {"trained", "scripted", "random", "adversarial"}
    seeds = [policy.details["seed"] for policy in panel if policy.kind == "trained"]
    assert len(set(seeds)) == len(seeds), "every training is a run of its own"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 5e6
    observation = np.zeros((2, task.observation_space.size), np.float32)
    for policy in panel:
        action = policy.act(observation, np.arange(2), 0)
        assert action.shape == (2, task.action_space.size)
        assert np.all((action >= task.action_space.low) & (action <= task.action_space.high)), policy.name
