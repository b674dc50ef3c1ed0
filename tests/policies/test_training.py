from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from wm_gym.errors import ConfigError
from wm_gym.models import load_model
from wm_gym.policies import keeper, training
from wm_gym.policies.learners import build_learner, export_policy
from wm_gym.policies.resume import restore_learner, save_learner
from wm_gym.policies.training import LearnConfig, learn

SETTINGS = {
    "ppo": {"n_steps": 8, "batch_size": 16, "n_epochs": 2},
    "a2c": {"n_steps": 8},
    "sac": {"learning_starts": 20, "buffer_size": 500, "batch_size": 16, "gradient_steps": 1},
}


class FarLine(gym.Env):
    """A point drawn from N(1000, 5), observed with a constant 3 beside it, for episodes of ten steps; reward 7."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gym.spaces.Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._left = 10
        return self._observe(), {}

    def step(self, action):
        self._left -= 1
        return self._observe(), 7.0, self._left == 0, False, {}

    def _observe(self):
        return np.array([self.np_random.normal(1000.0, 5.0), 3.0], np.float32)


class InterruptedTrainingError(Exception):
    pass


def config(algorithm, **changes):
    values = {"algorithm": algorithm, "steps": 320, "num_envs": 4, "seed": 1, "settings": SETTINGS[algorithm]}
    return LearnConfig(**(values | changes))


@pytest.mark.parametrize(("algorithm", "model"), [("ppo", None), ("sac", None), ("ppo", "reacher")])
def test_an_interrupted_training_ends_with_the_same_policy(point_mass, tmp_path, monkeypatch, algorithm, model):
    trained = load_model(model) if model else point_mass  # of a shipped one, the shown members alone are imagined
    monkeypatch.setattr(keeper, "_SAVE_EVERY", 0.0)
    whole = learn(config(algorithm), trained.task, trained, tmp_path / "whole")

    saves = []
    original = keeper.Keeper.save

    def save_and_stop(kept):
        original(kept)
        saves.append(kept.num_timesteps)
        if kept.num_timesteps >= 160:
            raise InterruptedTrainingError

    monkeypatch.setattr(keeper.Keeper, "save", save_and_stop)
    with pytest.raises(InterruptedTrainingError):
        learn(config(algorithm), trained.task, trained, tmp_path / "part")
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002  what another process would have found
    monkeypatch.setattr(keeper.Keeper, "save", original)
    resumed = learn(config(algorithm), trained.task, trained, tmp_path / "part")
    assert saves[-1] == 160
    for name, value in whole.policy.tensors.items():
        assert torch.equal(value, resumed.policy.tensors[name]), name
    assert resumed.steps == whole.steps == 320
    assert torch.equal(  # and the folder, still there, gives the same again without training
        learn(config(algorithm), trained.task, trained, tmp_path / "part").policy.tensors["bias.0"],
        whole.policy.tensors["bias.0"],
    )


def test_another_trainings_remains_are_not_taken_up(point_mass, tmp_path, monkeypatch):
    monkeypatch.setattr(keeper, "_SAVE_EVERY", 0.0)
    work = tmp_path / "work"
    begun = keeper.Keeper(work, None, 10, {"seed": 1})
    begun.resume(None)
    begun.bar.close()
    with pytest.raises(ConfigError, match="other settings"):
        learn(config("ppo"), point_mass.task, point_mass, work)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"world": "dream"}, "world='dream'"),
        ({"steps": 0}, "steps=0"),
        ({"num_envs": -1}, "num_envs=-1"),
        ({"world": "physics"}, "has no simulator"),
        ({"measure_every": 5}, "measure_every=5: only for world=physics"),
    ],
)
def test_bad_settings_are_named(point_mass, tmp_path, changes, named):
    with pytest.raises(ConfigError, match=named):
        learn(config("ppo", **changes), point_mass.task, point_mass, tmp_path / "work")


def test_an_unknown_algorithm_is_named(point_mass, tmp_path):
    for algorithm in ("dqn", "a2c"):
        with pytest.raises(ConfigError, match=f"algorithm='{algorithm}': in imagination one of ppo, sac"):
            learn(LearnConfig(algorithm=algorithm), point_mass.task, point_mass, tmp_path / "work")


def test_a_resumed_training_in_the_physics_begins_where_it_has_not_begun_before(tmp_path):
    begun = []
    for steps in (0, 32):
        learner = PPO("MlpPolicy", DummyVecEnv([FarLine]), n_steps=32, batch_size=32, n_epochs=1, seed=3, device="cpu")
        if steps:
            learner.num_timesteps = steps
            save_learner(tmp_path / "learner.safetensors", learner, None)
            restore_learner(tmp_path / "learner.safetensors", learner, None)
        begun.append(learner.get_env().reset()[0, 0])
    assert begun[0] != begun[1]


def test_scaled_rewards_make_a_return_of_about_one(point_mass, tmp_path, monkeypatch):
    """A reward of 7 at gamma 0.9 is 70 to come: a tenth of a unit each step."""
    normalizer = point_mass.model.normalizer
    normalizer.reward_mean.fill_(-7.0)
    normalizer.reward_std.fill_(2.0)
    env = training.ScaledRewards(DummyVecEnv([FarLine]))
    env.fit(normalizer, gamma=0.9)
    env.reset()
    rewards = [float(env.step(np.zeros((1, 1), np.float32))[1][0]) for _ in range(3)]
    assert rewards == pytest.approx([0.1, 0.1, 0.1])
    env.fit(normalizer, gamma=1.0)
    assert env.scale == 1.0
    seen, update = [], PPO.train

    def watched(learner):
        seen.append(learner.env.scale)
        update(learner)

    monkeypatch.setattr(PPO, "train", watched)
    settings = SETTINGS["ppo"] | {"gamma": 0.9}
    learn(
        LearnConfig(steps=64, num_envs=8, settings=settings, normalize=True),
        point_mass.task,
        point_mass,
        tmp_path / "w",
    )
    assert seen == [pytest.approx(0.1 / 7)]


def test_it_learns_to_stay_in_the_middle(point_mass, tmp_path):
    """The reward is minus the square of the position: pushing back is worth learning."""
    settings = {"n_steps": 20, "batch_size": 256, "n_epochs": 5}
    learned = learn(
        LearnConfig("ppo", "imagination", 40_000, 64, 0, settings, {}), point_mass.task, point_mass, tmp_path / "work"
    )
    assert learned.curve[-1]["return"] > learned.curve[0]["return"] / 2
    push, _ = learned.policy.predict(np.array([[0.7, 0.0], [-0.7, 0.0]]))
    assert push[0] < 0 < push[1]


def _normalized(algorithm, seed=0, **settings):
    env = VecNormalize(DummyVecEnv([FarLine] * 2))
    return build_learner(algorithm, env, seed, 200, overrides=SETTINGS[algorithm] | settings), env


@pytest.mark.parametrize("algorithm", ["ppo", "sac", "a2c"])
def test_running_scales_are_exported_with_the_policy(algorithm):
    learner, env = _normalized(algorithm, gamma=0.9)
    assert env.gamma == 0.9
    learner.learn(200)
    policy = export_policy(learner, {})
    assert policy.tensors["mean"].tolist() == pytest.approx([1000, 3], abs=2)
    assert policy.tensors["scale"][0] == pytest.approx(5, rel=0.3)
    observations = np.random.default_rng(1).normal([1000, 3], [5, 0], (50, 2)).astype(np.float32)
    expected, _ = learner.predict(env.normalize_obs(observations), deterministic=True)
    np.testing.assert_allclose(policy.predict(observations)[0], expected, atol=1e-4)


@pytest.mark.parametrize("algorithm", ["ppo", "a2c"])
def test_running_scales_survive_an_interruption(tmp_path, algorithm):
    learner, env = _normalized(algorithm)
    learner.learn(200)
    save_learner(tmp_path / "learner.safetensors", learner, env)
    twin, other = _normalized(algorithm, seed=5)
    restore_learner(tmp_path / "learner.safetensors", twin, other)
    for name in ("obs_rms", "ret_rms"):
        for part in ("mean", "var", "count"):
            np.testing.assert_array_equal(getattr(getattr(env, name), part), getattr(getattr(other, name), part))
    for name, value in export_policy(learner, {}).tensors.items():
        assert torch.equal(value, export_policy(twin, {}).tensors[name]), name
    twin.learn(50, reset_num_timesteps=False)
    assert other.obs_rms.count > env.obs_rms.count


def test_progress_is_told_instead_of_shown(point_mass, tmp_path, capsys):
    told = []
    learn(config("ppo"), point_mass.task, point_mass, tmp_path / "work", progress=told.append)
    assert told == list(range(0, 321, 32)) and capsys.readouterr().err == ""


def test_ppo_in_the_physics_has_settings_of_its_own_where_it_is_scaled(point_mass, tmp_path):
    task = replace(point_mass.task, env_id="FarLine-v0")
    settings = config("ppo", world="physics", num_envs=2, normalize=True, settings={"n_steps": 64})
    learned = learn(settings, task, None, tmp_path / "work", lambda task: FarLine())
    assert learned.policy.tensors["mean"][0] == pytest.approx(1000, abs=2)
    assert learned.curve[-1]["return"] == 70.0  # told in the task's own units
    learner = build_learner("ppo", VecNormalize(DummyVecEnv([FarLine])), 0, 100)
    assert (learner.n_steps, learner.batch_size, learner.gamma) == (256, 128, 0.99)
    assert learner.policy.log_std.tolist() == [-1.0]
