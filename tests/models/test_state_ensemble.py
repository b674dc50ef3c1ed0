import math

import numpy as np
import pytest
import torch

from wm_gym.models.fitting import FitConfig, fit
from wm_gym.models.open_loop import rollout_error
from wm_gym.models.state_ensemble import StateEnsemble, StateEnsembleConfig
from wm_gym.types import BoxSpec, Episode, Observation, ObservationMap, Segment, TaskSpec

SMALL = StateEnsembleConfig(members=3, width=16, layers=2, head_width=8)


def task(size=3, **described):
    box = BoxSpec((-math.inf,) * size, (math.inf,) * size)
    return TaskSpec("toy", box, BoxSpec((-2.0,), (2.0,)), 0.1, 10, observation_map=ObservationMap(**described))


def pendulum(seed, steps=20):
    """A damped rotor: observed sine, cosine and speed; the last number of four never changes."""
    rng = np.random.default_rng(seed)
    angle, speed, mark = rng.uniform(-3, 3), rng.normal(), rng.normal()
    rows, actions = [], rng.uniform(-2, 2, (steps, 1)).astype(np.float32)
    rewards = []
    for step in range(steps + 1):
        rows.append([math.sin(angle), math.cos(angle), speed, mark])
        if step < steps:
            speed = 0.95 * speed + 0.1 * actions[step, 0]
            angle += 0.1 * speed
            rewards.append(math.cos(angle))
    return Episode(
        np.array(rows, np.float32),
        actions,
        np.array(rewards, np.float32),
        terminated=False,
        truncated=True,
        control_dt=0.1,
    )


def segment_of(episodes):
    stack = lambda name: torch.from_numpy(np.stack([getattr(e, name) for e in episodes]))  # noqa: E731
    ones = torch.ones(len(episodes), len(episodes[0]))
    return Segment(stack("observations"), stack("actions"), stack("rewards"), torch.zeros_like(ones), ones)


class WholeEpisodes:
    def __init__(self, episodes, length):
        self.segment, self.length = segment_of(episodes), length

    def sample(self, batch_size, generator):
        rows = torch.randint(len(self.segment.actions), (batch_size,), generator=generator)
        first = int(torch.randint(20 - self.length + 1, (), generator=generator))
        s, upto = self.segment, first + self.length
        return Segment(
            s.observations[rows, first : upto + 1],
            s.actions[rows, first:upto],
            s.rewards[rows, first:upto],
            s.terminations[rows, first:upto],
            s.mask[rows, first:upto],
        )


@pytest.fixture
def model():
    torch.manual_seed(0)
    world = StateEnsemble(task(4, sin_cos=((0, 1),)), SMALL)
    world.fit_scales([pendulum(s) for s in range(30)])
    return world


def begin(world, rows=4, noise=None):
    observation = torch.from_numpy(np.stack([pendulum(s).observations[0] for s in range(rows)]))
    return world.observe(None, None, world.encode(Observation(state=observation)), noise)


def test_observing_believes_the_observation(model):
    latent = begin(model)
    expected = torch.from_numpy(np.stack([pendulum(s).observations[0] for s in range(4)]))
    assert torch.allclose(model.predict(latent).state, expected, atol=1e-6)
    assert (model.predict(latent).spread == 0).all() and (model.predict(latent).continuation == 1).all()


def test_what_never_moves_stays_and_pairs_stay_on_the_circle(model):
    latent = begin(model)
    for _ in range(20):
        latent = model.imagine(latent, torch.ones(4, 1))
    state = model.predict(latent).state
    assert torch.allclose(state[:, 3], torch.from_numpy(np.stack([pendulum(s).observations[0, 3] for s in range(4)])))
    assert torch.allclose(state[:, 0] ** 2 + state[:, 1] ** 2, torch.ones(4), atol=1e-5)


def test_what_is_linear_needs_no_training():
    def drift(seed):
        rng = np.random.default_rng(seed)
        rows, actions = [rng.normal(size=2)], rng.uniform(-2, 2, (20, 1)).astype(np.float32)
        for action in actions:
            place, speed = rows[-1]
            rows.append(np.array([place + 0.1 * speed, 0.9 * speed + 0.2 * action[0]]))
        rewards = np.zeros(20, np.float32)
        return Episode(np.array(rows, np.float32), actions, rewards, terminated=False, truncated=True, control_dt=0.1)

    world = StateEnsemble(task(2), SMALL)
    world.fit_scales([drift(seed) for seed in range(30)])
    with torch.no_grad():
        world.dynamics.weights[-1].zero_()
    assert rollout_error(world, segment_of([drift(99)]))[-1] < 1e-2


def test_imagining_is_a_pure_function_of_what_goes_in(model):
    latent, action, noise = begin(model, noise=torch.full((4, 4), 0.4)), torch.ones(4, 1), torch.full((4, 4), 0.3)
    before = {name: value.clone() for name, value in latent.values.items()}
    first, second = model.imagine(latent, action, noise), model.imagine(latent, action, noise)
    assert all(torch.equal(first[name], second[name]) for name in before)
    assert all(torch.equal(latent[name], before[name]) for name in before)


def test_rows_do_not_touch_each_other(model):
    latent, action = begin(model), torch.linspace(-1, 1, 4).unsqueeze(-1)
    together = model.predict(model.imagine(latent, action)).state
    alone = torch.cat(
        [model.predict(model.imagine(latent.rows(torch.tensor([r])), action[r : r + 1])).state for r in range(4)]
    )
    assert torch.allclose(together, alone, atol=1e-6)


def test_a_row_shows_the_member_that_its_noise_drew(model):
    latent = begin(model, 3, noise=torch.tensor([[0.1], [0.5], [0.9]]).repeat(1, 4))
    assert latent["member"].tolist() == [0, 1, 2]
    latent = model.imagine(latent, torch.ones(3, 1), torch.full((3, 4), 0.5))
    shown = model.predict(latent).state
    for row in range(3):
        assert torch.allclose(shown[row], latent["trajectories"][row, row], atol=1e-6)
    mean = model.imagine(begin(model, 3), torch.ones(3, 1))
    assert torch.allclose(model.predict(mean).state[:, 2], mean["trajectories"][:, :, 2].mean(1), atol=1e-6)


def test_spread_is_the_distance_of_members_worked_by_hand(model):
    latent = begin(model)
    following = model.imagine(latent, torch.ones(4, 1))
    paths = following["trajectories"]
    scaled = (paths - paths.mean(1, keepdim=True)) / model.normalizer.std
    moving = scaled[..., :3]  # the fourth never moves
    assert torch.allclose(following["spread"], moving.square().mean((1, 2)).sqrt(), atol=1e-6)


def test_median_noise_is_the_mean_and_other_noise_is_not(model):
    latent = begin(model, noise=torch.full((4, 4), 0.1))
    at = lambda u: model.predict(model.imagine(latent, torch.ones(4, 1), torch.full((4, 4), u))).state  # noqa: E731
    plain = model.imagine(latent, torch.ones(4, 1), None)
    assert torch.allclose(at(0.5), model.predict(plain).state, atol=1e-6)
    assert (at(0.9)[:, 2] > at(0.5)[:, 2]).all()


def test_nothing_imagined_is_ever_outside_the_bounds(model):
    with torch.no_grad():
        for weight in model.dynamics.weights:
            weight.mul_(50)
    latent = begin(model)
    for step in range(50):
        latent = model.imagine(latent, torch.full((4, 1), float((-1) ** step)), torch.rand(4, 4).clamp(1e-6, 1 - 1e-6))
    low, high = model.normalizer.bounds
    state = latent["trajectories"]
    assert torch.isfinite(state).all() and (state >= low).all() and (state <= high).all()
    assert torch.isfinite(latent["reward"]).all() and torch.isfinite(latent["spread"]).all()


def test_a_robot_that_never_ended_by_itself_never_will(model):
    assert not model.normalizer.terminates
    assert (model.imagine(begin(model), torch.ones(4, 1))["continuation"] == 1).all()


def test_an_angle_without_a_limit_repeats_itself():
    torch.manual_seed(0)
    world = StateEnsemble(task(2, angles=(0,)), SMALL)
    start = torch.tensor([[0.3, 1.0], [0.3 + 2 * math.pi, 1.0]])
    latent = world.observe(None, None, start)
    following = world.predict(world.imagine(latent, torch.ones(2, 1))).state
    assert torch.allclose(following[0] - start[0], following[1] - start[1], atol=1e-5)


def test_quaternions_stay_on_the_sphere():
    torch.manual_seed(0)
    world = StateEnsemble(task(5, quaternions=(1,)), SMALL)
    latent = world.observe(None, None, torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0]]))
    for _ in range(5):
        latent = world.imagine(latent, torch.ones(1, 1))
    assert world.predict(latent).state[0, 1:].norm().item() == pytest.approx(1.0, abs=1e-5)


def test_every_kind_of_number_lets_the_gradient_through():
    torch.manual_seed(0)
    world = StateEnsemble(task(9, sin_cos=((0, 1),), quaternions=(2,), angles=(6,)), SMALL)
    observations = torch.randn(6, 4, 9)
    ones = torch.ones(6, 3)
    segment = Segment(observations, ones.unsqueeze(-1), ones, torch.zeros(6, 3), ones)
    world.loss(segment, 3).total.backward()
    gradients = [parameter.grad for parameter in world.parameters()]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
    assert all(gradient.abs().sum() > 0 for gradient in gradients[:2])


def test_padding_is_worth_nothing(model):
    whole = segment_of([pendulum(s) for s in range(6)])
    mask = whole.mask.clone()
    mask[:, 5:] = 0
    spoilt = whole.observations.clone()
    spoilt[:, 6:] = 1e3
    clean = model.loss(Segment(whole.observations, whole.actions, whole.rewards, whole.terminations, mask), 10)
    dirty = model.loss(Segment(spoilt, whole.actions, whole.rewards, whole.terminations, mask), 10)
    assert clean.total.item() == pytest.approx(dirty.total.item())


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_any_number_of_rows_trains(model, rows):
    assert torch.isfinite(model.loss(segment_of([pendulum(s) for s in range(rows)]), 2).total)


def test_it_learns_the_pendulum():
    torch.manual_seed(0)
    episodes = [pendulum(s) for s in range(60)]
    world = StateEnsemble(task(4, sin_cos=((0, 1),)), StateEnsembleConfig(members=2, width=48, layers=2, head_width=16))
    world.fit_scales(episodes)
    held_out = segment_of([pendulum(s) for s in range(1000, 1020)])
    nothing = world.normalizer.error(held_out.observations[:, :1] - held_out.observations[:, 1:]).mean().item()
    config = FitConfig(updates=400, batch_size=64, horizons=(1, 2, 4), learning_rate=5e-3, evaluate_every=100)
    progress = fit(world, WholeEpisodes(episodes, 4), held_out, config, seed=0)
    error = rollout_error(world, held_out).mean().item()
    assert error == pytest.approx(progress.best_error)
    assert error < 0.2 * nothing


def test_an_interrupted_fit_ends_with_the_same_weights(tmp_path):
    episodes = [pendulum(s) for s in range(10)]
    held_out = segment_of([pendulum(s) for s in range(100, 104)])
    config = FitConfig(updates=30, batch_size=12, horizons=(1, 2), evaluate_every=5)

    class InterruptedFitError(Exception):
        pass

    def run(path, stop_at=None):
        torch.manual_seed(0)
        world = StateEnsemble(task(4), SMALL)
        world.fit_scales(episodes)

        def stop(update):
            if update == stop_at:
                raise InterruptedFitError

        fit(world, WholeEpisodes(episodes, 2), held_out, config, seed=1, checkpoint=path, on_update=stop)
        return world.state_dict()

    whole = run(tmp_path / "a.safetensors")
    with pytest.raises(InterruptedFitError):
        run(tmp_path / "b.safetensors", stop_at=17)
    resumed = run(tmp_path / "b.safetensors")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
