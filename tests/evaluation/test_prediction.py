"""Open-loop error against cases worked by hand."""

import numpy as np
import pytest

from wm_gym.evaluation import baselines, prediction
from wm_gym.evaluation.held_out import stack_episodes


def rng():
    return np.random.default_rng(0)


def score(predicted, held_out, scale):
    return prediction.score("it", predicted, held_out, scale, rng())


@pytest.fixture
def sine(world):
    """One period of 20 steps, started at each of its 20 phases: std 1/sqrt(2). The second number never moves."""
    time = np.arange(20)[:, None] + np.arange(22)[None, :]
    wave = np.sin(2 * np.pi * time / 20)
    return [world.make_episode(np.stack([row, np.full(22, 7.0)], axis=-1)) for row in wave]


def test_persistence_error_of_a_sine(sine):
    held_out, scale = stack_episodes(sine, horizon=20), prediction.Scale.of([sine[0]])
    scale = prediction.Scale(np.array([np.sqrt(0.5), 0.0]), scale.moving, scale.reward)
    found = score(baselines.persistence(held_out), held_out, scale)
    # sin(x + p) - sin(x) has root mean square sqrt(2) |sin(p / 2)|, over the std 1 / sqrt(2): 2 |sin(p / 2)|.
    phase = 2 * np.pi * np.arange(1, 21) / 20
    assert scale.moving == (0,)
    assert found.curve.value == pytest.approx(2 * np.abs(np.sin(phase / 2)), abs=1e-6)
    assert found.per_dimension.shape == (20, 1)
    assert found.per_dimension[9, 0] == pytest.approx(2.0)


def test_what_differs_from_episode_to_episode_but_never_within_one_is_not_scored(world):
    """A target: every predictor knows it, and it would halve everybody's error."""
    walks = [world.make_episode(np.stack([np.arange(5.0), np.full(5, target)], -1)) for target in (-1.0, 3.0)]
    assert prediction.Scale.of(walks).moving == (0,)


def test_constant_velocity_is_exact_on_a_ramp_and_causal(world):
    ramp = np.arange(8.0)[:, None] * np.array([[1.0, -2.0]])
    held_out = stack_episodes([world.make_episode(ramp)], horizon=6)
    assert baselines.constant_velocity(held_out) == pytest.approx(held_out.truth)
    held_out.observations[:, 2:] = 1e6  # what comes after the start must not be looked at
    assert baselines.constant_velocity(held_out)[0, 0] == pytest.approx([2.0, -4.0])


def test_autoregression_finds_a_linear_world(episodes):
    fitted = baselines.fit_autoregression(episodes[:10], ridge=1e-9)
    held_out = stack_episodes(episodes[10:], horizon=11)
    assert fitted.rollout(held_out) == pytest.approx(held_out.truth, abs=1e-4)


def test_exact_model_has_no_error(world, episodes):
    held_out, scale = stack_episodes(episodes, horizon=10), prediction.Scale.of(episodes)
    imagined = prediction.imagine_open_loop(world.Model(), held_out)
    found = score(imagined.states, held_out, scale)
    assert found.curve.value == pytest.approx(np.zeros(10), abs=1e-6)
    assert found.failures == 0
    assert imagined.rewards == pytest.approx(held_out.future_rewards, abs=1e-6)
    valid = prediction.valid_time(found, held_out, rng())
    assert (valid.steps, valid.censored, valid.high_censored) == (10, True, True)


def test_drifting_model_has_the_worked_error(world, episodes):
    held_out = stack_episodes(episodes, horizon=10)
    scale = prediction.Scale(np.array([1.0, 2.0]), (0, 1), 1.0)
    states = prediction.imagine_open_loop(world.Model(drift=0.1), held_out).states
    found = score(states, held_out, scale)
    # 0.1 h in both numbers: sqrt(((0.1 h / 1)^2 + (0.1 h / 2)^2) / 2).
    steps = np.arange(1, 11)
    assert found.curve.value == pytest.approx(0.1 * steps * np.sqrt(0.625), abs=1e-5)
    assert found.per_dimension[:, 1] == pytest.approx(0.05 * steps, abs=1e-5)
    # 0.0791 h is above 0.3 from the fourth step on, in every resample.
    assert prediction.valid_time(found, held_out, rng()) == prediction.ValidTime(4, 4, 4, False, False)


def test_skill_is_one_minus_the_ratio_to_the_best_baseline(world, episodes):
    held_out, scale = stack_episodes(episodes, horizon=5), prediction.Scale(np.ones(2), (0, 1), 1.0)
    off = {name: score(held_out.truth + size, held_out, scale) for name, size in {"a": 0.4, "b": 0.2}.items()}
    model = score(held_out.truth + 0.05, held_out, scale)
    curve, best = prediction.skill(model, list(off.values()), held_out, rng())
    assert curve.value == pytest.approx(np.full(5, 0.75))
    assert curve.low == pytest.approx(np.full(5, 0.75))
    assert best == ["it"] * 5


def test_a_failed_prediction_counts_as_a_failure(world, episodes):
    held_out, scale = stack_episodes(episodes, horizon=10), prediction.Scale(np.ones(2), (0, 1), 1.0)
    states = prediction.imagine_open_loop(world.Model(break_at=1e-9), held_out).states
    found = score(states, held_out, scale)
    assert found.failures == len(episodes)
    assert found.curve.value == pytest.approx(np.full(10, prediction.FAILED))


def test_rows_after_an_end_are_not_scored(world, episodes):
    short = world.make_episode(episodes[0].observations[:4])
    held_out = stack_episodes([short, episodes[1]], horizon=10)
    assert held_out.running.sum(axis=1).tolist() == [2, 10]
    wrong = held_out.truth.copy()
    wrong[0, 2:] = 1e9
    assert score(wrong, held_out, prediction.Scale.of(episodes)).curve.value == pytest.approx(np.zeros(10))


def test_horizon_is_shortened_to_what_a_tenth_of_the_episodes_reach(world, episodes):
    assert stack_episodes(episodes, horizon=500).horizon == 11
    short = [world.make_episode(episode.observations[:5]) for episode in episodes]
    assert stack_episodes([*short[:18], *episodes[:2]], horizon=500).horizon == 11
    assert stack_episodes([*short[:19], *episodes[:1]], horizon=500).horizon == 3


def test_episodes_too_short_to_predict_are_refused(world, episodes):
    with pytest.raises(ValueError, match="no episode is longer"):
        stack_episodes([world.make_episode(episodes[0].observations[:2])], horizon=5)


def test_floor_is_the_noise_itself_where_nothing_amplifies_it(world, episodes):
    def set_state(env, qpos, qvel):
        env.x = qpos.copy()

    held_out = stack_episodes(episodes, horizon=10)
    states, rewards = baselines.physics_floor(world.Env(limit=100), held_out, set_state, rng(), noise=0.0)
    assert states == pytest.approx(held_out.truth, abs=1e-5)
    assert rewards == pytest.approx(held_out.future_rewards, abs=1e-5)
    states, _ = baselines.physics_floor(world.Env(limit=100), held_out, set_state, rng(), noise=0.01)
    found = score(states, held_out, prediction.Scale(np.ones(2), (0, 1), 1.0)).curve.value
    assert found == pytest.approx(np.full(10, found[0]), abs=1e-6)
    assert 0.005 < found[0] < 0.015
