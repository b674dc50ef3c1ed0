from dataclasses import replace

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from wm_gym.errors import ConfigError, DataError
from wm_gym.policies import keeper
from wm_gym.policies.imitation import actor_parameters, best_episodes, imitate
from wm_gym.policies.training import LearnConfig, learn
from wm_gym.types import Episode


def episode(steps, reward, action=0.0, size=3):
    return Episode(
        observations=np.zeros((steps + 1, size), np.float32),
        actions=np.full((steps, 1), action, np.float32),
        rewards=np.full(steps, reward / steps, np.float32),
        terminated=False,
        truncated=True,
        control_dt=0.05,
    )


def test_the_best_third_is_a_third_of_the_steps():
    recorded = [episode(100, 1.0), episode(50, 9.0), episode(50, 5.0), episode(100, 3.0)]
    assert best_episodes(recorded, 50) == [recorded[1], recorded[2]]
    assert best_episodes(recorded, 50, 0.1) == [recorded[1]]  # one at least
    assert best_episodes(recorded, 50, 0.4) == [recorded[1], recorded[2], recorded[3]]  # which crosses it
    assert best_episodes(recorded, 50, 1.0) == [recorded[1], recorded[2], recorded[3], recorded[0]]


def test_an_episode_that_was_cut_has_no_return():
    """With rewards below nought a stub would be the best of all."""
    stub, long, fallen = episode(3, -1.0), episode(100, -50.0), replace(episode(20, -20.0), terminated=True)
    assert best_episodes([stub, long, fallen], 100, 1.0) == [fallen, long]
    with pytest.raises(DataError, match="no episode ended, or lasted 100 steps"):
        best_episodes([stub], 100)


def demonstrated():
    """Pushing back against the pendulum's sine: a = -1.5 sin(angle), within Pendulum-v1's [-2, 2]."""
    generator = np.random.default_rng(0)
    angles = generator.uniform(-np.pi, np.pi, 2001)
    observations = np.stack([np.cos(angles), np.sin(angles), generator.normal(size=2001)], axis=1)
    actions = -1.5 * observations[:-1, 1:2]
    rewards = np.zeros(2000, np.float32)
    return Episode(observations.astype(np.float32), actions.astype(np.float32), rewards, False, True, 0.05)


def test_the_mean_action_becomes_the_logged_one():
    learner = PPO("MlpPolicy", "Pendulum-v1", device="cpu", seed=0)
    spread = learner.policy.log_std.detach().clone()
    critic = [p.detach().clone() for p in learner.policy.value_net.parameters()]
    error = imitate(learner, [demonstrated()], seed=0, updates=600)
    assert error < 2e-3  # of 0.28 that acting with nothing would leave: (1.5 / 2)^2 / 2
    action, _ = learner.predict(np.array([0.0, 1.0, 0.0], np.float32), deterministic=True)
    assert action[0] == pytest.approx(-1.5, abs=0.15)
    assert torch.equal(learner.policy.log_std, spread)
    assert all(torch.equal(a, b) for a, b in zip(learner.policy.value_net.parameters(), critic, strict=True))


def test_nothing_cannot_be_imitated():
    with pytest.raises(DataError, match="nothing to imitate"):
        imitate(PPO("MlpPolicy", "Pendulum-v1", device="cpu"), [], seed=0)


def test_an_actor_that_imitates_waits_for_its_critic(point_mass, tmp_path, monkeypatch):
    task, kept = point_mass.task, []
    update = PPO.train

    def watched(learner):
        before = [p.detach().clone() for p in actor_parameters(learner)]
        update(learner)
        kept.append(all(torch.equal(a, b) for a, b in zip(before, actor_parameters(learner), strict=True)))

    monkeypatch.setattr(PPO, "train", watched)
    monkeypatch.setattr(keeper, "_ALIKE", 0.5)
    config = LearnConfig(steps=256, num_envs=8, settings={"n_steps": 8, "batch_size": 64, "n_epochs": 1})
    shown = [episode(50, 1.0, size=task.observation_space.size)]
    learn(config, task, point_mass, tmp_path / "work", demonstrations=shown)
    assert kept == [True, True, False, False]  # the rollouts of 64 steps


def test_another_robots_recording_is_refused(point_mass, tmp_path):
    config = LearnConfig(steps=64, num_envs=8)
    with pytest.raises(ConfigError, match=r"3 observations and 1 actions, .* 2 and 1: another robot"):
        learn(config, point_mass.task, point_mass, tmp_path / "work", demonstrations=[demonstrated()])


def test_no_steps_leave_what_was_imitated(point_mass, tmp_path):
    config = LearnConfig(steps=0, num_envs=8)
    shown = [episode(50, 1.0, action=0.5, size=2)]
    learnt = learn(config, point_mass.task, point_mass, tmp_path / "work", demonstrations=shown)
    assert learnt.steps == 0 and learnt.policy.predict(np.zeros(2, np.float32))[0][0] == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ConfigError, match="steps=0"):
        learn(config, point_mass.task, point_mass, tmp_path / "other")


def test_only_ppo_begins_by_imitating(point_mass, tmp_path):
    config = LearnConfig(algorithm="sac", steps=64, num_envs=8)
    with pytest.raises(ConfigError, match="only ppo"):
        learn(config, point_mass.task, point_mass, tmp_path / "work", demonstrations=[demonstrated()])
    assert not (tmp_path / "work").exists()  # so that the corrected call is not another training
