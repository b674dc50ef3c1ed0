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


def test_wrong_questions_are_named():
    with pytest.raises(ObservationError, match="2 numbers"):
        tiny_policy().predict(np.zeros(3))
    with pytest.raises(ConfigError, match="deterministic=True"):
        tiny_policy().predict(np.zeros(2), deterministic=False)
    env = gym.make("Pendulum-v1")
    with pytest.raises(ConfigError, match="n_stepz"):
        from stable_baselines3.common.vec_env import DummyVecEnv

        build_learner("ppo", DummyVecEnv([lambda: env]), 0, 10, overrides={"n_stepz": 3})
