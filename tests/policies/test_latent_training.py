"""What agents of camera models meet while they learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from wm_gym.envs.sb3 import WorldModelVecEnv
from wm_gym.errors import ConfigError
from wm_gym.policies import keeper
from wm_gym.policies.filtered_latents import FilteredLatents, code_noise
from wm_gym.policies.latent_training import LatentLearnConfig, learn_in_latents
from wm_gym.testing.inputs import make_camera_model

ROWS = 64


def played(scale, seed=0, steps=3, horizon=3):
    """Observations (steps + 1, N, D) of the rollouts as they are and as filtered, and the last ones of the episodes."""
    trained = make_camera_model()
    actions = np.random.default_rng(5).uniform(-1, 1, (steps, ROWS, 2)).astype(np.float32)
    found = []
    for filtered in (False, True):
        env = WorldModelVecEnv(trained, ROWS, seed=3, obs_type="latent", horizon=horizon)
        if filtered:
            env = FilteredLatents(env, trained, scale * torch.ones(trained.model.embedding_size), seed)
        seen = [env.reset()]
        for action in actions:
            observation, _, done, infos = env.step(action)
            seen.append(observation)
        last = np.stack([info["terminal_observation"] for info in infos]) if done.all() else None
        found.append((np.stack(seen), last))
    return found


def test_a_filter_that_is_shown_exact_codes_sees_what_is_imagined():
    (plain, last), (filtered, filtered_last) = played(0.0, steps=5)
    assert last is None and filtered_last is None
    np.testing.assert_allclose(filtered, plain, atol=1e-5)


def test_a_filter_sees_noise_in_codes_and_memory_but_not_where_episodes_begin():
    (plain, last), (filtered, filtered_last) = played(0.5)
    assert filtered.dtype == np.float32 and filtered_last.shape == last.shape
    assert np.array_equal(filtered[0], plain[0])
    assert np.array_equal(filtered[3], plain[3])  # of the next episode: the rollouts themselves go on as they did
    model = make_camera_model().model
    size = model.embedding_size
    wanted = 0.5 / model.normalizer.std.numpy()
    for seen, true in ((filtered[1], plain[1]), (filtered_last, last)):
        assert (seen - true)[:, :size].std(0) == pytest.approx(wanted, rel=0.5)
        assert (seen - true)[:, size:].std(0).max() > 1e-3
    assert np.array_equal(filtered, played(0.5)[1][0])
    assert not np.array_equal(filtered[1], played(0.5, seed=1)[1][0][1])


@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_an_interrupted_training_ends_with_the_same_policy(tmp_path, monkeypatch, noise):
    trained = make_camera_model()
    plan = LatentLearnConfig(steps=4 * 50 * 4, num_envs=4, seed=1, horizon=7, noise=noise)
    monkeypatch.setattr(keeper, "_SAVE_EVERY", 0.0)
    whole = learn_in_latents(trained, plan, tmp_path / "whole", lambda steps: None)
    original = keeper.Keeper.save

    def save_and_stop(kept):
        original(kept)
        if kept.num_timesteps >= 400:
            raise KeyboardInterrupt

    monkeypatch.setattr(keeper.Keeper, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        learn_in_latents(trained, plan, tmp_path / "part", lambda steps: None)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002  what another process would have found
    monkeypatch.setattr(keeper.Keeper, "save", original)
    told = []
    resumed = learn_in_latents(trained, plan, tmp_path / "part", told.append)
    assert told == [400, 600, 800]
    for name, value in whole.policy.tensors.items():
        assert torch.equal(value, resumed.policy.tensors[name]), name
    with pytest.raises(ConfigError, match="other settings"):
        learn_in_latents(trained, replace(plan, gamma=0.5), tmp_path / "part", lambda steps: None)


def test_noise_of_codes_is_what_they_tell_beyond_what_was_expected():
    """The recorded contexts are replaced by what the model itself imagines, and then moved by 3 in one number."""
    trained = make_camera_model()
    model, actions = trained.model, torch.zeros(64, 1, 2)
    begun = trained.starts.any[:1, 0].repeat(64, 1)
    latent = model.imagine(model.observe(None, None, begun), actions[:, 0])
    told = latent["appearance"].mean(1)
    exact = torch.stack([begun, told], 1)

    def found(contexts):
        return code_noise(replace(trained, starts=replace(trained.starts, any=contexts, any_actions=actions)))

    assert found(exact) == pytest.approx(np.zeros(model.embedding_size), abs=1e-4)
    moved = exact.clone()
    moved[::2, 1, 0] += 3.0
    # Half of them by 3 and half by nothing: a standard deviation of 1.5, times 64 / 63 for a sample.
    assert found(moved)[0] == pytest.approx(1.5 * (64 / 63) ** 0.5, rel=1e-3)
    assert found(moved)[1] == pytest.approx(0.0, abs=1e-4)


def test_a_model_without_contexts_tells_nothing_of_its_noise():
    trained = make_camera_model()
    with pytest.raises(ConfigError, match="noise: the model comes with single frames"):
        code_noise(replace(trained, starts=replace(trained.starts, any_actions=torch.zeros(64, 0, 2))))
