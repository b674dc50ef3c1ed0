"""``uncertainty="penalize"`` and ``"truncate"`` through the three faces, step by step beside ``"report"``."""

import numpy as np
import pytest
from stable_baselines3 import PPO

from wm_gym.envs import WorldModelEnv, WorldModelVectorEnv
from wm_gym.envs.sb3 import WorldModelVecEnv

START = np.array([-0.5, -0.2], np.float32)
STILL = np.zeros((3, 1), np.float32)


def begin(face, model, **settings):
    """Three rows (or one) at the same start, and ``step() -> reward, terminated, truncated, uncertainty, trusted``."""
    settings |= {"deterministic": True}
    if face == "single":
        env = WorldModelEnv(model, **settings)
        env.reset(seed=0, options={"observation": START})

        def step():
            _, reward, terminated, truncated, info = env.step(STILL[0])
            return reward, terminated, truncated, info["uncertainty"], info["trusted"]

    elif face == "vector":
        env = WorldModelVectorEnv(3, model, **settings)
        env.reset(seed=0, options={"observation": START})

        def step():
            _, reward, terminated, truncated, info = env.step(STILL)
            info = info.get("final_info", info)
            return reward[1], terminated[1], truncated[1], info["uncertainty"][1], info["trusted"][1]

    else:
        env = WorldModelVecEnv(model, 3, seed=0, **settings)
        env.set_options({"observation": START})
        env.reset()

        def step():
            _, reward, done, infos = env.step(STILL)
            cut = infos[1].get("TimeLimit.truncated", False)
            return reward[1], done[1] and not cut, cut, infos[1]["uncertainty"], infos[1]["trusted"]

    return step


faces = pytest.mark.parametrize("face", ["single", "vector", "sb3"])


@faces
def test_penalize_takes_penalty_times_uncertainty_from_the_reward_and_nothing_else(point_mass, face):
    report, penalised = begin(face, point_mass), begin(face, point_mass, uncertainty="penalize", penalty=3.0)
    for _ in range(5):
        plain, taxed = report(), penalised()
        assert plain[3] == taxed[3] > 0
        assert taxed[0] == pytest.approx(plain[0] - 3.0 * plain[3], rel=1e-5)
        assert taxed[1:] == plain[1:]


@faces
def test_no_penalty_is_no_penalty(point_mass, face):
    report, free = begin(face, point_mass), begin(face, point_mass, uncertainty="penalize", penalty=0.0)
    assert [report()[0] for _ in range(3)] == [free()[0] for _ in range(3)]


@faces
def test_truncate_ends_at_the_first_step_that_report_does_not_trust(point_mass, face):
    """The mass glides by -0.02 a step, and the calibrated horizon is ten steps: trust ends at the eleventh."""
    report, cut = begin(face, point_mass), begin(face, point_mass, uncertainty="truncate")
    for step in range(1, 12):
        plain, ended = report(), cut()
        assert not plain[2] and bool(ended[2]) == (not plain[4]) == (step == 11)
        assert not ended[1] and ended[0] == plain[0] and ended[3] == plain[3]


@faces
def test_truncate_ends_where_the_support_is_left(point_mass, face):
    point_mass.support.low[0] = -0.55  # left at the third step of -0.02
    cut = begin(face, point_mass, uncertainty="truncate")
    assert [bool(cut()[2]) for _ in range(3)] == [False, False, True]


def test_sb3_bootstraps_from_the_last_observation_where_trust_ends(point_mass):
    """PPO's buffer holds reward + gamma V(terminal observation) there, and the plain reward everywhere else."""
    seen = []

    class Logged(WorldModelVecEnv):
        def step_wait(self):
            result = super().step_wait()
            seen.append((result[0], result[1].copy(), *result[2:]))  # SB3 adds to the rewards in their place
            return result

    envs = Logged(point_mass, 2, seed=0, deterministic=True, uncertainty="truncate")
    learner = PPO("MlpPolicy", envs, n_steps=24, batch_size=24, n_epochs=1, gamma=0.9, seed=0, learning_rate=0.0)
    learner.learn(48)
    stored, cuts = learner.rollout_buffer.rewards, 0
    for t, (observation, reward, done, infos) in enumerate(seen):
        for row, info in enumerate(infos):
            if info.get("TimeLimit.truncated"):
                assert done[row] and not info["trusted"] and not info.get("invalid")
                last = info["terminal_observation"]
                assert not np.array_equal(last, observation[row])
                value = learner.policy.predict_values(learner.policy.obs_to_tensor(last[None])[0])
                assert stored[t, row] == pytest.approx(reward[row] + 0.9 * value.item(), abs=1e-5)
                cuts += 1
            else:
                assert stored[t, row] == pytest.approx(reward[row], abs=1e-6)
    assert cuts >= 2
