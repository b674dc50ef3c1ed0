"""The fused update is held against SB3's own: same weights, draws and batches, same result."""

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import SAC

from wm_gym.errors import ConfigError
from wm_gym.policies.fused_sac import FusedSAC
from wm_gym.policies.resume import restore_learner, save_learner


def taught(kind, updates, arch=(24, 16), **settings):
    learner = kind(
        "MlpPolicy",
        "Pendulum-v1",
        policy_kwargs={"net_arch": list(arch)},
        learning_starts=64,
        batch_size=32,
        device="cpu",
        seed=3,
        **settings,
    )
    learner.learn(64)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - SB3 draws its batches from it
    if updates:
        learner.train(updates, 32)
    return learner


def test_updates_are_those_of_sb3():
    plain, fused = taught(SAC, 30), taught(FusedSAC, 30)
    theirs, mine = plain.policy.state_dict(), fused.policy.state_dict()
    assert theirs.keys() == mine.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, rtol=0, atol=2e-5, msg=name)
    assert fused.log_ent_coef.item() == pytest.approx(plain.log_ent_coef.item(), abs=1e-6)
    moved = taught(SAC, 0).policy.state_dict()
    assert max(float((theirs[name] - moved[name]).abs().max()) for name in theirs) > 5e-3  # 30 steps of 3e-4


def test_a_clamped_deviation_has_no_gradient():
    learners = []
    for kind in (SAC, FusedSAC):
        learner = taught(kind, 0)
        with torch.no_grad():
            learner.actor.log_std.bias.fill_(50.0)  # far above SB3's bound of 2
        learner.train(5, 32)
        learners.append(learner)
    values = [learner.actor.log_std.bias.detach() for learner in learners]
    torch.testing.assert_close(values[1], values[0])
    torch.testing.assert_close(learners[1].actor.mu.weight, learners[0].actor.mu.weight, rtol=0, atol=2e-5)


def test_what_it_saves_is_a_sac_that_goes_on(tmp_path):
    fused = taught(FusedSAC, 10)
    fused.save(tmp_path / "agent.zip")
    loaded = SAC.load(tmp_path / "agent.zip", env=gymnasium.make("Pendulum-v1"), device="cpu")
    for optimizer in (loaded.actor.optimizer, loaded.critic.optimizer, loaded.ent_coef_optimizer):
        assert not optimizer.param_groups[0]["fused"]
    observation = fused.observation_space.sample()
    np.testing.assert_array_equal(
        loaded.predict(observation, deterministic=True)[0], fused.predict(observation, deterministic=True)[0]
    )
    loaded.replay_buffer, loaded._logger = fused.replay_buffer, fused.logger
    for learner in (loaded, fused):
        torch.manual_seed(2)
        np.random.seed(2)  # noqa: NPY002
        learner.train(5, 32)
    for name, value in loaded.policy.state_dict().items():
        torch.testing.assert_close(fused.policy.state_dict()[name], value, rtol=0, atol=2e-5, msg=name)


def test_an_interrupted_one_goes_on_to_the_bit(tmp_path):
    first = taught(FusedSAC, 10)
    save_learner(tmp_path / "learner.safetensors", first, None)
    first.train(5, 32)
    second = taught(FusedSAC, 0)
    restore_learner(tmp_path / "learner.safetensors", second, None)
    second.train(5, 32)
    for name, value in first.policy.state_dict().items():
        assert torch.equal(second.policy.state_dict()[name], value), name


def test_it_is_loaded_as_a_sac():
    with pytest.raises(ConfigError, match=r"SAC\.load"):
        FusedSAC.load("agent.zip")


@pytest.mark.parametrize(
    "settings",
    [
        {"ent_coef": 0.1},
        {"use_sde": True},
        {"target_update_interval": 2},
        {"n_steps": 3},
        {"policy_kwargs": {"optimizer_kwargs": {"weight_decay": 0.1}}},
        {"policy_kwargs": {"optimizer_class": torch.optim.SGD}},
    ],
)
def test_settings_that_it_does_not_know_are_refused(settings):
    with pytest.raises(ConfigError, match="FusedSAC"):
        FusedSAC("MlpPolicy", "Pendulum-v1", device="cpu", **settings)
