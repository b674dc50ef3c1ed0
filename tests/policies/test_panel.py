import json

import numpy as np
import pytest
import torch

from wm_gym.errors import ConfigError, ModelError
from wm_gym.files import write_json
from wm_gym.policies import Policy
from wm_gym.policies.panel import PanelPolicy, load_panel, mirrored, write_panel
from wm_gym.policies.panel_training import plan_runs, train_runs
from wm_gym.policies.scripted import write_scripts

OBSERVATIONS = np.array([[-2.0, 0.0], [0.1, 5.0], [0.6, 0.0]], np.float32)


def _policy(squash=False, low=0.0):
    """action = 2 x first number, clipped to [low, 1], or squashed onto it."""
    tensors = {
        "mean": torch.zeros(2),
        "scale": torch.ones(2),
        "low": torch.tensor([low]),
        "high": torch.tensor([1.0]),
        "weight.0": torch.tensor([[2.0, 0.0]]),
        "bias.0": torch.zeros(1),
    }
    return PanelPolicy("ppo_00", "trained", Policy(tensors, "tanh", squash, {}), {"seed": 7, "returns": [1.0, 2.0]})


def _act(policy):
    return policy.act(OBSERVATIONS, np.arange(3), 0)


def test_it_acts_as_its_policy_does():
    np.testing.assert_allclose(_act(_policy())[:, 0], [0.0, 0.2, 1.0])


@pytest.mark.parametrize("squash", [True, False])
@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_the_mirrored_policy_does_the_opposite(squash, low):
    policy = _policy(squash, low)
    opposite = mirrored("adversarial", policy)
    assert (opposite.kind, opposite.details) == ("adversarial", {"mirrors": "ppo_00"})
    np.testing.assert_allclose(_act(opposite), low + 1.0 - _act(policy), atol=1e-6)


def test_a_panel_comes_back_as_it_was(point_mass, tmp_path):
    zero = PanelPolicy("zero", "scripted", write_scripts(point_mass.task.action_space, 0.1, 0)["zero"], {})
    write_panel(tmp_path, point_mass.task, [_policy(), zero, mirrored("adversarial", _policy())])
    loaded = load_panel(tmp_path)
    assert [(p.name, p.kind) for p in loaded] == [
        ("ppo_00", "trained"), ("zero", "scripted"), ("adversarial", "adversarial"),
    ]  # fmt: skip
    assert loaded[0].details["seed"] == 7 and loaded[0].details["returns"] == [1.0, 2.0]
    for one, other in zip(loaded, (_policy(), zero, mirrored("adversarial", _policy())), strict=True):
        np.testing.assert_array_equal(_act(one), _act(other))
    described = json.loads((tmp_path / "panel.json").read_text())
    assert described["task"] == "point_mass" and "the last of that run" in described["checkpoint_rule"]


def test_what_was_changed_is_named(point_mass, tmp_path):
    zero = PanelPolicy("zero", "scripted", write_scripts(point_mass.task.action_space, 0.1, 0)["zero"], {})
    write_panel(tmp_path, point_mass.task, [zero])
    script, panel = tmp_path / "zero" / "script.json", tmp_path / "panel.json"
    script.write_text(script.read_text().replace("0.0", "0.5"))
    with pytest.raises(ModelError, match=r"zero.script\.json: missing or changed"):
        load_panel(tmp_path)
    good = json.loads(panel.read_text())
    for change in ({"name": "../zero"}, {"kind": "pickled"}, {"sha256": None}):
        panel.write_text(json.dumps(good | {"policies": [good["policies"][0] | change]}))
        with pytest.raises(ModelError):
            load_panel(tmp_path)
    panel.write_text(json.dumps(good | {"policies": [{}]}))
    with pytest.raises(ModelError, match="damaged"):
        load_panel(tmp_path)
    panel.write_text(json.dumps(good | {"schema_version": 2}))
    with pytest.raises(ModelError, match="schema 2"):
        load_panel(tmp_path)


def test_the_plan_mixes_algorithms_and_lengths_and_repeats_no_seed():
    runs = plan_runs(24)
    assert {a: sum(run.algorithm == a for run in runs) for a in ("ppo", "a2c", "sac")} == {
        "ppo": 12,
        "a2c": 8,
        "sac": 4,
    }
    lengths = [run.steps for run in runs if run.algorithm == "ppo"]
    assert lengths == sorted(lengths) and (lengths[0], lengths[-1]) == (10_000, 200_000)
    assert len({run.name for run in runs}) == 24
    robots = [run.seed + robot for run in [*runs, *plan_runs(24, seed=1)] for robot in range(run.config().num_envs)]
    assert len(set(robots)) == len(robots)
    assert sum(run.seconds for run in runs) < 2 * 20 * 60  # with two cores, and trying them comes on top
    assert {run.algorithm for run in plan_runs(3, scale=0.01)} == {"ppo", "a2c", "sac"}
    assert min(run.steps for run in plan_runs(3, scale=0.01)) == 100
    for bad in ({"policies": 0}, {"policies": 3, "scale": 0.0}):
        with pytest.raises(ConfigError):
            plan_runs(**bad)


def test_another_panels_remains_are_not_taken_up(point_mass, tmp_path):
    write_json(tmp_path / "plan.json", {"seed": 1, "runs": []})
    with pytest.raises(ConfigError, match="another unfinished panel"):
        train_runs(point_mass.task, [], {"seed": 2}, tmp_path, 1, len, lambda seconds, finished: None)
    assert train_runs(point_mass.task, [], {"seed": 1}, tmp_path, 1, len, lambda seconds, finished: None) == []
