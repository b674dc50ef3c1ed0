import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC

from wm_gym.envs.sb3 import WorldModelVecEnv
from wm_gym.errors import ConfigError, ModelError, ObservationError
from wm_gym.policies import Policy, load_policy
from wm_gym.policies.learners import build_learner, export_policy


def tiny_policy():
    """One layer: action = 2 x (first number - 1) / 4, clipped to [-1, 1]."""
    tensors = {
        "mean": torch.tensor([1.0, 0.0]),
        "scale": torch.tensor([4.0, 1.0]),
        "low": torch.tensor([-1.0]),
        "high": torch.tensor([1.0]),
        "weight.0": torch.tensor([[2.0, 0.0]]),
        "bias.0": torch.tensor([0.0]),
    }
    return Policy(tensors, "tanh", squash=False, details={"seed": 3})


def test_actions_worked_by_hand():
    actions, state = tiny_policy().predict(np.array([[2.0, 9.0], [100.0, 0.0]]))
    assert actions.tolist() == [[0.5], [1.0]] and state is None
    assert tiny_policy().predict(np.array([2.0, 9.0]))[0].tolist() == [0.5]


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
@pytest.mark.parametrize("scaled", [True, False])
def test_an_exported_policy_acts_as_sb3_does(point_mass, tmp_path, algorithm, scaled):
    env = WorldModelVecEnv(point_mass, 4, seed=0)
    normalizer = point_mass.model.normalizer if scaled else None
    normalizer and normalizer.mean.copy_(torch.tensor([0.3, -0.2]))
    learner = build_learner(algorithm, env, 0, 100, normalizer)
    export_policy(learner, {"seed": 0}).save(tmp_path / "policy")
    observations = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    expected, _ = learner.predict(observations, deterministic=True)
    for folder in (tmp_path / "policy", tmp_path):  # an agent's folder holds policy/
        actions, _ = load_policy(folder).predict(observations)
        assert np.allclose(actions, expected, atol=1e-5)


def test_a_zip_is_read_only_where_it_is_trusted(point_mass, tmp_path):
    env = WorldModelVecEnv(point_mass, 2, seed=0)
    for algorithm in (PPO, SAC):
        learner = algorithm("MlpPolicy", env, seed=0)
        learner.save(tmp_path / "agent.zip")
        with pytest.raises(ModelError, match="trust=true"):
            load_policy(tmp_path / "agent.zip")
        actor = load_policy(tmp_path / "agent.zip", trust=True)
        observation = np.array([0.1, 0.2], np.float32)
        assert np.allclose(
            actor.predict(observation, deterministic=True)[0], learner.predict(observation, deterministic=True)[0]
        )


def test_damage_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"policy\.json"):
        load_policy(tmp_path / "nowhere")
    tiny_policy().save(tmp_path)
    file = tmp_path / "policy.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelError, match="changed since it was written"):
        load_policy(tmp_path)
    tiny_policy().save(tmp_path)
    described = tmp_path / "policy.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | {"activation": "__import__"}))
    with pytest.raises(ModelError, match="activation"):
        load_policy(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.update({"weight.0": torch.ones(1, 3)}), r"'weight.0' of shape \(1, 3\) does not follow \(2,\)"),
        (lambda t: t.update({"weight.0": torch.ones(2)}), "does not follow"),
        (lambda t: t.update({"bias.0": torch.ones(2)}), "does not follow"),
        (lambda t: t.update({"weight.2": torch.ones(1, 1)}), "is missing|is of no use"),
        (lambda t: t.update({"weight.9": torch.ones(1, 1), "bias.9": torch.ones(1)}), "is missing|is of no use"),
        (lambda t: t.pop("low"), "'low' is missing"),
        (lambda t: t.update({"more": torch.ones(1)}), "'more' is of no use"),
        (lambda t: t.update({"high": torch.ones(3)}), "the sizes of"),
        (lambda t: t.update({"low": torch.tensor([2.0])}), "a lower bound lies above"),
        (lambda t: t["scale"].fill_(0), "a scale is not positive"),
        (lambda t: t["bias.0"].fill_(float("inf")), "'bias.0' holds a value that is not finite"),
    ],
)
def test_layers_that_do_not_follow_one_another_are_named(tmp_path, change, words):
    policy = tiny_policy()
    change(policy.tensors)
    policy.save(tmp_path)
    with pytest.raises(ModelError, match=words):
        load_policy(tmp_path)


@pytest.mark.parametrize("change", [{"activation": ["tanh"]}, {"squash": 1}, {"details": "ours"}, {"sha256": None}])
def test_a_description_of_another_kind_is_refused(tmp_path, change):
    tiny_policy().save(tmp_path)
    described = tmp_path / "policy.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | change))
    with pytest.raises(ModelError):
        load_policy(tmp_path)


def test_an_action_without_bounds_is_clipped_nowhere(tmp_path):
    policy = tiny_policy()
    policy.tensors.update(low=torch.tensor([-torch.inf]), high=torch.tensor([torch.inf]))
    policy.save(tmp_path)
    assert load_policy(tmp_path).predict(np.array([100.0, 0.0]))[0].tolist() == [49.5]


def test_a_policy_that_cannot_be_written_leaves_the_older_one(tmp_path, monkeypatch):
    tiny_policy().save(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wm_gym.policies.policy.write_json", full)
    other = tiny_policy()
    other.tensors["bias.0"].fill_(1.0)
    with pytest.raises(OSError, match="No space left"):
        other.save(tmp_path)
    assert load_policy(tmp_path).predict(np.array([2.0, 9.0]))[0].tolist() == [0.5]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.json", "policy.safetensors"]


def test_wrong_questions_are_named():
    with pytest.raises(ObservationError, match="2 numbers"):
        tiny_policy().predict(np.zeros(3))
    with pytest.raises(ConfigError, match="deterministic=True"):
        tiny_policy().predict(np.zeros(2), deterministic=False)
    env = gym.make("Pendulum-v1")
    with pytest.raises(ConfigError, match="n_stepz"):
        from stable_baselines3.common.vec_env import DummyVecEnv

        build_learner("ppo", DummyVecEnv([lambda: env]), 0, 10, overrides={"n_stepz": 3})
