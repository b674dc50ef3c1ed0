"""The fused step against the plain one: the same states, actions and seeds, compared number by number."""

import copy
import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from wm_gym.envs import Imagination, ImaginationConfig, WorldModelEnv, WorldModelVectorEnv
from wm_gym.envs.fused_imagination import FusedImagination, can_be_fused, imagination_of, without_reports
from wm_gym.envs.imagination import SAID, Transition
from wm_gym.errors import ConfigError, ObservationError
from wm_gym.models import TrainedModel, load_model
from wm_gym.models.fused_ensemble import FusedShown
from wm_gym.models.state_ensemble import StateEnsemble, StateEnsembleConfig
from wm_gym.models.trained import StartStates
from wm_gym.models.trust import Calibration, Support
from wm_gym.types import BoxSpec, Episode, LatentState, ObservationMap, TaskSpec

SIZE, ACTIONS, ROWS = 10, 2, 37
KINDS = {
    "plain numbers": ObservationMap(),
    "angles": ObservationMap(angles=(0, 3)),
    "pairs": ObservationMap(sin_cos=((2, 0), (3, 1))),
    "all at once": ObservationMap(sin_cos=((0, 1),), quaternions=(2,), angles=(6,)),
}
MODES = [
    {},
    {"deterministic": True},
    {"uncertainty": "penalize", "penalty": 3.0},
    {"uncertainty": "truncate"},
    {"uncertainty": "truncate", "deterministic": True, "start": "any"},
    {"uncertainty": "omit"},
]


def trained_on(described, *, ends=True, bound=float("inf"), temperature=0.7):
    """A model with random weights whose members disagree, and the scales, support and starts of random walks."""
    torch.manual_seed(0)
    box = BoxSpec((-bound,) * SIZE, (bound,) * SIZE)
    task = TaskSpec("walk", box, BoxSpec((-2.0, -1.0), (2.0, 3.0)), 0.1, 12, observation_map=described)
    world = StateEnsemble(task, StateEnsembleConfig(members=3, width=24, layers=2, head_width=16, head_layers=2))
    rng, episodes = np.random.default_rng(0), []
    for _ in range(12):
        walk = np.cumsum(rng.normal(size=(21, SIZE)) * 0.3, 0).astype(np.float32) + 2
        walk[:, 9] = 1.5  # never moves
        acts = rng.uniform(-1, 1, (20, ACTIONS)).astype(np.float32)
        rewards = rng.normal(size=20).astype(np.float32)
        episodes.append(Episode(walk, acts, rewards, terminated=ends, truncated=not ends, control_dt=0.1))
    world.fit_scales(episodes)
    with torch.no_grad():
        for network in (world.dynamics, world.judge):
            network.weights[-1].mul_(10)
            for bias in network.biases:
                bias.normal_(std=0.3)
        world.linear.mul_(0.3)
        world.temperature.fill_(temperature)
    states = torch.from_numpy(np.concatenate([episode.observations[1:] for episode in episodes]))
    actions = torch.from_numpy(np.concatenate([episode.actions for episode in episodes]))
    steps = torch.arange(1, 9) / 8
    return TrainedModel(
        model=world.eval().requires_grad_(False),
        starts=StartStates(
            states[::7, None], torch.zeros(35, 0, 2)[: len(states[::7])], states[:, None], actions[:, :0]
        ),
        support=Support.measure(states, actions),
        calibration=Calibration(
            torch.stack([steps, 2 * steps]), torch.rand(2, 8, 2), 1 + torch.rand(2, 8), torch.tensor(6)
        ),
        manifest={"files": {}, "dataset": {"steps": 240}},
    )


def assert_same(plain, fused, names, place):
    for name in names:
        wanted, found = getattr(plain, name), getattr(fused, name)
        if wanted is None:
            assert found is None, f"{name} {place}"
            continue
        assert wanted.dtype == found.dtype and wanted.shape == found.shape, f"{name} {place}"
        if wanted.is_floating_point():
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5, msg=lambda text: f"{name} {place}: {text}")  # noqa: B023
        else:
            assert torch.equal(found, wanted), f"{name} {place}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_twenty_steps_with_resets_are_those_of_the_plain_path(kind, mode):
    trained = trained_on(KINDS[kind])
    plain, fused = (make(trained, ImaginationConfig(**mode)) for make in (Imagination, FusedImagination))
    seeds = torch.arange(ROWS) + 2**40
    state, ended = plain.begin(seeds), 0
    begun = fused.begin(seeds)
    assert all(torch.equal(value, begun.tensors()[name]) for name, value in state.tensors().items())
    generator = torch.Generator().manual_seed(1)
    for step in range(20):
        action = torch.rand(ROWS, ACTIONS, generator=generator) * 4 - torch.tensor([2.0, 1.0])
        # Both go on from the plain one's state, so that roundings do not add up.
        wanted_state, wanted = plain.step(state, action)
        found_state, found = fused.step(state, action)
        assert_same(wanted, found, [field.name for field in fields(Transition)], f"at step {step}")
        for name, value in wanted_state.tensors().items():
            torch.testing.assert_close(found_state.tensors()[name], value, rtol=1e-5, atol=1e-5)
        done = wanted.terminated | wanted.truncated
        state = wanted_state
        if done.any():
            index = done.nonzero().squeeze(1)
            old = state.rows(index)
            state = state.with_rows(index, plain.begin(old.seeds, old.episodes + 1, old.steps))
            ended += len(index)
            said, quickly = plain.judge_start(state), fused.judge_start(state)
            assert said.keys() == quickly.keys()
            assert all(torch.allclose(said[name], quickly[name], atol=1e-5) for name in SAID[:2] if name in said)
            assert torch.equal(said[SAID[2]], quickly[SAID[2]])
    assert ended > ROWS  # every row began anew, as a rule


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_omitted_changes_nothing_that_is_shown(kind):
    trained = trained_on(KINDS[kind])
    worlds = [WorldModelVectorEnv(ROWS, trained, start="any", uncertainty=mode) for mode in ("report", "omit")]
    (first, said), (alike, says) = (world.reset(seed=3) for world in worlds)
    assert np.array_equal(first, alike) and set(said) == {*SAID, *(f"_{name}" for name in SAID)}
    assert set(says) == {"trusted", "_trusted"}
    generator, ended = np.random.default_rng(0), 0
    for _ in range(40):
        actions = generator.uniform(-1, 1, (ROWS, ACTIONS)).astype(np.float32)
        shown, alike = (world.step(actions) for world in worlds)
        for mine, theirs in zip(shown[:4], alike[:4], strict=True):
            np.testing.assert_allclose(theirs, mine, rtol=1e-4, atol=1e-4)
        assert np.array_equal(shown[4]["trusted"], alike[4]["trusted"]) and "uncertainty" not in alike[4]
        ended += int((shown[2] | shown[3]).sum())
    assert ended > ROWS


def test_what_can_be_omitted(point_mass):
    trained = trained_on(ObservationMap())
    with pytest.raises(ConfigError, match="the mean needs every member"):
        WorldModelEnv(trained, uncertainty="omit", deterministic=True)
    with pytest.raises(ConfigError, match="offers report, penalize, truncate"):
        WorldModelEnv(point_mass, uncertainty="omit")
    one, full = WorldModelEnv(trained, uncertainty="omit"), WorldModelEnv(trained)
    assert one.reset(seed=0)[1].keys() == {"trusted"}
    full.reset(seed=0)
    with pytest.raises(ObservationError, match=r"trajectories has shape \(1, 1, 10\), \(1, 3, 10\) is needed"):
        full.set_state(one.get_state())
    push = np.zeros(ACTIONS, np.float32)
    twin = WorldModelEnv(trained, uncertainty="omit")
    twin.reset(seed=7)
    twin.set_state(one.get_state())
    assert np.array_equal(one.step(push)[0], twin.step(push)[0])


def test_a_state_of_other_rules_is_taken_over_or_refused():
    trained, push = trained_on(ObservationMap()), torch.ones(ROWS, ACTIONS)
    full, shown = (FusedImagination(trained, ImaginationConfig(uncertainty=mode)) for mode in ("report", "omit"))
    state, _ = full.step(full.begin(torch.arange(ROWS)), push)
    following, wanted = full.step(state, push)
    with pytest.raises(ObservationError, match="other rules"):
        shown.step(state, push)
    _, found = shown.step(shown.adopt(state), push)
    assert_same(wanted, found, ["observation", "reward", "terminated", "truncated", "trusted"], "")
    kept, _ = shown.step(shown.adopt(following), push)
    for world in (full, Imagination(trained)):
        with pytest.raises(ObservationError, match="cannot tell how far members disagree"):
            world.adopt(kept)
    with pytest.raises(ObservationError, match="other rules"):
        full.step(kept, push)


def test_another_ensembles_state_changes_nothing():
    trained = trained_on(ObservationMap())
    env = WorldModelVectorEnv(4, trained, uncertainty="omit")
    env.reset(seed=0)
    push = np.zeros((4, ACTIONS), np.float32)
    env.step(push)
    own = env.get_state()
    foreign = replace(own, latent=LatentState({**own.latent.values, "member": torch.tensor([0, 1, 6, 2])}))
    env.set_state(foreign)
    for _ in range(2):
        with pytest.raises(ObservationError, match="shows member 6 of 3"):
            env.step(push)


def test_blocks_that_grow_and_shrink_hold_every_row():
    trained, rows = trained_on(ObservationMap(angles=(1,))), 300
    model, fused = trained.model, FusedShown(trained.model, rows)
    generator = torch.Generator().manual_seed(0)
    state = trained.starts.any[torch.randint(len(trained.starts.any), (rows,), generator=generator)]
    zero = torch.zeros(rows)
    heights = []
    for skew in (0.0, 0.95, 0.0, 0.6, 0.0):
        member = torch.randint(3, (rows,), generator=generator)
        member[torch.rand(rows, generator=generator) < skew] = 1
        latent = {"trajectories": state, "member": member, "reward": zero, "continuation": zero, "spread": zero}
        noise, push = torch.rand(rows, SIZE, generator=generator), torch.randn(rows, ACTIONS, generator=generator)
        wanted = model.imagine(LatentState(latent), push, noise)
        found = fused.advance(state, member, push, noise)
        heights.append(fused._height)
        for name, value in (("trajectories", found.trajectories), ("reward", found.reward)):
            torch.testing.assert_close(value, wanted[name], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.state, model.predict(wanted).state, rtol=1e-5, atol=1e-5)
    assert heights[1] > heights[0] + 100 and heights[2] < heights[1] - 100


@pytest.mark.parametrize("rows", [1, 2, 300])
@pytest.mark.parametrize("model", ["reacher", "hopper"])
@pytest.mark.parametrize("mode", ["report", "omit"])
def test_shipped_models_in_batches_of_any_size(model, rows, mode):
    trained, config = load_model(model), ImaginationConfig(uncertainty=mode)
    plain, fused = Imagination(trained, config), imagination_of(trained, config)
    assert isinstance(fused, FusedImagination)
    state = plain.begin(torch.arange(rows))
    for step in range(4):
        action = torch.full((rows, trained.task.action_space.size), 0.5 - 0.3 * step)
        following, wanted = plain.step(state, action)
        _, found = fused.step(state, action)
        scale = trained.model.normalizer.std
        torch.testing.assert_close(found.observation / scale, wanted.observation / scale, rtol=1e-5, atol=1e-5)
        assert_same(wanted, found, ["reward", "uncertainty", "uncertainty_bound", "terminated"], f"at step {step}")
        state = following


def test_worlds_without_noise_ends_or_within_bounds():
    for settings in ({"ends": False}, {"temperature": 0.0}, {"bound": 2.5}):
        trained = trained_on(ObservationMap(), **settings)
        plain, fused = Imagination(trained), FusedImagination(trained)
        state = plain.begin(torch.arange(ROWS))
        for _ in range(3):
            following, wanted = plain.step(state, torch.ones(ROWS, ACTIONS))
            _, found = fused.step(state, torch.ones(ROWS, ACTIONS))
            assert_same(wanted, found, [field.name for field in fields(Transition)], str(settings))
            state = following


def test_leaving_the_bounds_and_numbers_that_are_none():
    trained = trained_on(ObservationMap())
    trained.model.dynamics.biases[-1][0, 0, 0] = torch.nan
    trained.model.dynamics.biases[-1][1, 0, 1] = 1e30
    plain, fused = Imagination(trained), FusedImagination(trained)
    state = plain.begin(torch.arange(ROWS))
    _, wanted = plain.step(state, torch.zeros(ROWS, ACTIONS))
    _, found = fused.step(state, torch.zeros(ROWS, ACTIONS))
    assert wanted.invalid.any() and not wanted.invalid.all()
    assert_same(wanted, found, ["observation", "invalid", "truncated", "terminated", "uncertainty"], "")


def test_a_users_functions_are_asked_and_a_refusal_changes_nothing():
    trained = trained_on(ObservationMap())
    angry = []

    def reward_fn(observation, action, following):
        return np.full(len(following), np.nan) if angry else following[:, 0]

    rules = {"reward_fn": reward_fn, "termination_fn": lambda o, a, n: n[:, 1] > 2}
    env = WorldModelVectorEnv(4, trained, **rules)
    env.reset(seed=0)
    push = np.zeros((4, ACTIONS), np.float32)
    for _ in range(2):
        observation, reward, *_ = env.step(push)
    before = env.get_state()
    angry.append(True)
    for _ in range(3):
        with pytest.raises(ConfigError, match="not finite"):
            env.step(push)
    angry.clear()
    assert all(torch.equal(value, env.get_state().tensors()[name]) for name, value in before.tensors().items())
    observation, reward, terminated, *_ = env.step(push)
    assert np.allclose(reward[~terminated], observation[~terminated, 0])


def test_a_state_of_the_mean_goes_on_in_a_sampled_world():
    trained = trained_on(ObservationMap())
    mean, sampled = WorldModelEnv(trained, deterministic=True), WorldModelEnv(trained)
    mean.reset(seed=0)
    sampled.reset(seed=0)
    sampled.set_state(mean.get_state())
    plain = Imagination(trained)
    push = np.zeros(ACTIONS, np.float32)
    _, wanted = plain.step(mean.get_state(), torch.zeros(1, ACTIONS))
    assert np.allclose(sampled.step(push)[0], wanted.observation[0], atol=1e-5)


@pytest.mark.parametrize("mode", ["report", "omit"])
def test_arrays_are_never_written_again_and_a_copy_goes_on_alone(mode):
    trained = trained_on(ObservationMap(angles=(1,)))
    env = WorldModelVectorEnv(8, trained, uncertainty=mode)
    env.reset(seed=0)
    push = np.ones((8, ACTIONS), np.float32)
    kept = [env.step(push)[0] for _ in range(3)]
    copies = [array.copy() for array in kept]
    twins = [env, copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    onwards = [[twin.step(push)[0] for _ in range(12)] for twin in twins]
    assert all(np.array_equal(a, b) for a, b in zip(kept, copies, strict=True))
    assert all(np.array_equal(a, b) for other in onwards[1:] for a, b in zip(onwards[0], other, strict=True))


def test_few_rows_are_imagined_on_one_thread_and_the_others_come_back():
    fused, before, seen = FusedImagination(trained_on(ObservationMap())), torch.get_num_threads(), []

    class Asked:
        def __init__(self, ensemble):
            self._advance = ensemble._advance

        def __call__(self, *arguments):
            seen.append(torch.get_num_threads())
            return self._advance(*arguments)

    try:
        torch.set_num_threads(2)
        for rows in (3, 3000):
            state = fused.begin(torch.arange(rows))
            fused.step(state, torch.zeros(rows, ACTIONS))
            fused._ensemble._advance = Asked(fused._ensemble)
            fused.step(state, torch.zeros(rows, ACTIONS))
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 2]


def test_what_is_not_fused(point_mass):
    assert type(imagination_of(point_mass, ImaginationConfig())) is Imagination
    trained = trained_on(ObservationMap())
    assert can_be_fused(trained)
    learning = replace(trained, model=copy.deepcopy(trained.model).requires_grad_(True))
    assert not can_be_fused(learning)
    assert type(imagination_of(learning, ImaginationConfig())) is Imagination


def test_who_reads_no_info_pays_for_none(point_mass):
    trained = trained_on(ObservationMap())
    assert without_reports(trained, {"start": "any"}) == {"start": "any", "uncertainty": "omit"}
    for asked in ({"uncertainty": "penalize"}, {"deterministic": True}):
        assert without_reports(trained, asked) == asked
    assert without_reports(point_mass, {}) == {}  # of another family
