import numpy as np
import pytest
import torch

from wm_gym.envs import Imagination, ImaginationConfig
from wm_gym.errors import ConfigError, ObservationError


def start(point_mass, x, v, **settings):
    imagination = Imagination(point_mass, ImaginationConfig(deterministic=True, **settings))
    state = imagination.begin_at(torch.tensor([[[x, v]]]), torch.zeros(1, 0, 1), torch.zeros(1, dtype=torch.int64))
    return imagination, state


def test_a_step_worked_by_hand(point_mass):
    imagination, state = start(point_mass, 0.5, 0.2)
    state, step = imagination.step(state, torch.tensor([[1.0]]))
    assert step.observation[0].tolist() == pytest.approx([0.53, 0.3])
    assert step.reward.item() == pytest.approx(-(0.53**2))
    assert step.uncertainty.item() == pytest.approx(2 * 0.053)
    assert not step.terminated and not step.truncated and step.trusted and not step.invalid
    assert (state.elapsed.item(), state.steps.item(), state.episodes.item()) == (1, 1, 0)


def test_termination_is_the_models_and_truncation_the_horizons(point_mass):
    imagination, state = start(point_mass, 0.99, 0.5)
    _, step = imagination.step(state, torch.tensor([[0.0]]))
    assert step.terminated and not step.truncated
    imagination, state = start(point_mass, 0.0, 0.0, horizon=2)
    state, first = imagination.step(state, torch.tensor([[0.0]]))
    _, second = imagination.step(state, torch.tensor([[0.0]]))
    assert not first.truncated and second.truncated and not second.terminated


def test_penalize_subtracts_and_truncate_ends_where_trust_ends(point_mass):
    imagination, state = start(point_mass, 0.5, 0.0, uncertainty="penalize", penalty=3.0)
    _, step = imagination.step(state, torch.tensor([[0.0]]))
    assert step.reward.item() == pytest.approx(-0.25 - 3 * 0.1)
    imagination, state = start(point_mass, -0.5, -1.5, uncertainty="truncate")
    _, step = imagination.step(state, torch.tensor([[0.0]]))
    assert not step.trusted and step.truncated and not step.terminated and not step.invalid


def test_trust_ends_with_the_calibrated_horizon(point_mass):
    imagination, state = start(point_mass, 0.0, 0.0)
    trusted = []
    for _ in range(12):
        state, step = imagination.step(state, torch.tensor([[0.0]]))
        trusted.append(step.trusted.item())
    assert trusted == [True] * 10 + [False] * 2


def test_leaving_the_bounds_ends_the_rollout_at_its_last_observation(point_mass):
    # The training range is [-2, 2] and the bounds are ten times as wide.
    imagination, state = start(point_mass, 5.0, -19.95)
    state, step = imagination.step(state, torch.tensor([[-1.0]]))
    assert step.invalid and step.truncated and not step.terminated and not step.trusted
    assert step.observation[0].tolist() == pytest.approx([5.0, -19.95])
    assert step.reward.item() == pytest.approx(-(2.995**2))  # the model's own, as it is below the lowest recorded
    imagination, state = start(point_mass, 5.0, -19.95, reward_fn=lambda o, a, n: np.full(len(o), 1000.0))
    _, step = imagination.step(state, torch.tensor([[-1.0]]))
    assert step.reward.item() == -4.0  # nobody is paid for leaving


def test_reward_and_termination_of_the_user_replace_the_learned_ones(point_mass):
    seen = {}

    def reward_fn(observation, action, following):
        seen.update(observation=observation, action=action, following=following)
        return following[:, 0] * 10

    imagination, state = start(point_mass, 0.5, 0.0, reward_fn=reward_fn, termination_fn=lambda o, a, n: n[:, 0] > 0.4)
    _, step = imagination.step(state, torch.tensor([[0.0]]))
    assert step.reward.item() == pytest.approx(5.0) and step.terminated
    assert all(isinstance(value, np.ndarray) for value in seen.values())
    assert seen["observation"].shape == (1, 2) and seen["action"].shape == (1, 1)


def test_a_users_function_is_held_to_one_value_per_row(point_mass):
    imagination, state = start(point_mass, 0.5, 0.0, reward_fn=lambda o, a, n: 1.0)
    with pytest.raises(ConfigError, match=r"reward_fn must return shape \(1,\)"):
        imagination.step(state, torch.tensor([[0.0]]))


def test_any_starts_lie_elsewhere_than_initial_ones(point_mass):
    seeds = torch.arange(50)
    initial = Imagination(point_mass, ImaginationConfig()).begin(seeds).observation[:, 0]
    anywhere = Imagination(point_mass, ImaginationConfig(start="any")).begin(seeds).observation[:, 0]
    assert set(np.round(initial.tolist(), 3)) == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}
    assert torch.allclose(anywhere, initial + 0.05)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"start": "nowhere"}, "start='nowhere'"),
        ({"uncertainty": "ignore"}, "uncertainty='ignore'"),
        ({"obs_type": "image"}, "obs_type='image'"),
        ({"horizon": 0}, "horizon=0"),
        ({"penalty": float("nan")}, "penalty=nan"),
    ],
)
def test_a_setting_that_does_not_exist_is_named(point_mass, settings, named):
    with pytest.raises(ConfigError, match=named):
        Imagination(point_mass, ImaginationConfig(**settings))


@pytest.mark.parametrize("x", [float("nan"), float("inf"), 50.0])
def test_a_start_outside_the_world_is_refused(point_mass, x):
    with pytest.raises(ObservationError):
        start(point_mass, x, 0.0)
