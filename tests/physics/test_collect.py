from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from wm_gym.errors import ConfigError, ModelError
from wm_gym.physics.behaviours import (
    NoisyPolicyBehaviour,
    PolicyBehaviour,
    WanderingPolicyBehaviour,
    list_behaviours,
    make_behaviour,
)
from wm_gym.physics.collect import Job, Recipe, Recorder, Schedule, record_episodes
from wm_gym.physics.tasks import get_physics_state, make_physics, set_physics_state, task_spec
from wm_gym.types import BoxSpec

BOX = BoxSpec((-2.0, 0.0), (2.0, 1.0))


class Still:
    """A policy that always asks for the same action."""

    def predict(self, observation, *, deterministic=True):
        return np.array([9.0, 0.5]), None


@pytest.fixture(scope="module")
def reacher():
    return replace(task_spec("reacher"), cameras=())


@pytest.fixture(scope="module")
def hopper():
    return replace(task_spec("hopper"), cameras=())


def _actions(behaviour, seed, steps=400):
    behaviour.begin(np.random.default_rng(seed))
    return np.array([behaviour.act(np.zeros(3)) for _ in range(steps)])


@pytest.mark.parametrize("name", ["random", "smooth", "trained", "noisy_trained"])
def test_actions_are_in_bounds_float32_and_repeat_with_the_generator(name):
    behaviour = make_behaviour(name, BOX, {"trained": Still})
    actions = _actions(behaviour, 1)
    assert actions.dtype == np.float32
    assert (actions >= BOX.low).all() and (actions <= BOX.high).all()
    np.testing.assert_array_equal(actions, _actions(behaviour, 1))


def test_random_fills_the_box_and_smooth_remembers():
    random, smooth = (make_behaviour(name, BOX) for name in ("random", "smooth"))
    drawn = _actions(random, 0, 4000)
    np.testing.assert_allclose(drawn.mean(axis=0), [0.0, 0.5], atol=0.06)
    np.testing.assert_allclose(drawn.std(axis=0), [4 / 12**0.5, 1 / 12**0.5], rtol=0.05)

    def memory(behaviour, seed):
        x = _actions(behaviour, seed)[:, 0]
        return np.corrcoef(x[:-1], x[1:])[0, 1]

    assert abs(memory(random, 3)) < 0.15
    assert np.mean([memory(smooth, seed) for seed in range(20)]) > 0.7
    spread = [_actions(smooth, seed)[:, 0].std() for seed in range(20)]
    assert max(spread) > 3 * min(spread)


def test_a_policy_acts_clipped_and_its_noisy_twin_around_it():
    np.testing.assert_array_equal(_actions(PolicyBehaviour(BOX, Still()), 0), np.tile([[2.0, 0.5]], (400, 1)))
    noisy = _actions(NoisyPolicyBehaviour(BOX, Still()), 0)
    assert noisy.std() > 0.02
    assert np.median(noisy[:, 1]) == pytest.approx(0.5, abs=0.1)
    assert (noisy[:, 0] < 0).sum() > 3  # stretches of random actions


def test_a_wandering_policy_acts_where_it_would_not_go_by_itself_and_slowly():
    pushes = np.stack([_actions(WanderingPolicyBehaviour(BOX, Still()), seed)[:, 1] - 0.5 for seed in range(40)])
    assert 0.05 < pushes.mean(1).std() < 0.5
    assert np.abs(pushes.mean(1)).min() < 0.02  # weak ones among them
    assert np.abs(np.diff(pushes)).mean() < 0.3 * pushes.std()


def test_a_behaviour_that_cannot_be_is_named():
    with pytest.raises(ConfigError, match=r"'dance' does not exist .*random, smooth"):
        make_behaviour("dance", BOX)
    with pytest.raises(
        ConfigError, match=r"'noisy_good' does not exist .*noisy_bad, .*; policies\.NAME=FOLDER adds NAME"
    ):
        make_behaviour("noisy_good", BOX, {"bad": Still})
    with pytest.raises(ModelError, match="policy 'trained' does not fit"):
        make_behaviour("trained", BoxSpec((0.0,), (1.0,)), {"trained": Still}).act(np.zeros(3))


def test_each_policy_adds_three_behaviours():
    assert list_behaviours() == ("random", "smooth")
    of_policies = ("a", "noisy_a", "wandering_a", "b", "noisy_b", "wandering_b")
    assert list_behaviours(["a", "b"]) == ("random", "smooth", *of_policies)
    for name in ("random", "noisy_a", "wandering_a", "../a", "a b", ""):
        with pytest.raises(ConfigError, match=f"policies.{name}: "):
            list_behaviours([name])


def test_the_recipe_says_which_policies_it_uses():
    recipe = Recipe(100, 0, {"random": 1, "noisy_a": 1, "b": 0, "c": 1}, {"a": Still, "b": Still, "c": Still})
    assert recipe.used_policies() == ("a", "c")
    assert Recipe(100, 0, {"wandering_b": 1}, {"a": Still, "b": Still}).used_policies() == ("b",)


def test_quotas_add_up_exactly():
    assert Recipe(100).quotas() == {"random": 50, "smooth": 50}
    assert Recipe(100, 0, {"random": 1, "smooth": 2}).quotas() == {"random": 33, "smooth": 67}
    mix = {"random": 1, "smooth": 0, "policy": 1, "noisy_policy": 1}
    assert Recipe(7, 0, mix, {"policy": Still}).quotas().keys() == {"random", "policy", "noisy_policy"}
    for shares in permutations([0.2, 0.3, 0.5]):
        mix = dict(zip(("random", "smooth", "policy"), shares, strict=True))
        assert sum(Recipe(1001, 0, mix, {"policy": Still}).quotas().values()) == 1001
    for bad in ({"dance": 1.0}, {"random": -1.0}, {"random": float("nan")}, {}, {"random": 0.0}):
        with pytest.raises(ConfigError):
            Recipe(100, 0, bad).quotas()
    with pytest.raises(ConfigError, match="too few"):
        Recipe(1).quotas()


def _run_schedule(recipe, staged, lengths, together, generator):
    """Play the schedule with so many episodes under way at once, which end in any order; returns what was kept."""
    schedule, under_way, kept, started = Schedule(recipe, staged), [], dict(staged), 0
    while True:
        while len(under_way) < together and (job := schedule.next()) is not None:
            under_way.append(job)
            started += 1
        if not under_way:
            return {key: kept[key] for key in schedule.kept()}, started
        job = under_way.pop(generator.integers(len(under_way)))
        kept[job.key] = min(lengths[job.number], job.limit or 10**9)
        schedule.done(job, kept[job.key])


def test_the_schedule_keeps_the_same_episodes_whatever_the_order():
    """quota 20, episodes of 8, 3, 7, 9, 4, ... steps -> 8 + 3 + 7 + the first 2 of 9"""
    lengths = [8, 3, 7, 9, 4, 9, 9, 1, 5, 5, 5, 5, 5]
    wanted = {f"random-{number:06d}": steps for number, steps in enumerate([8, 3, 7, 2])}
    recipe = Recipe(20, 0, {"random": 1.0})
    generator = np.random.default_rng(0)
    # alone, nothing is recorded in vain
    assert _run_schedule(recipe, {}, lengths, 1, generator) == (wanted, 4)
    for together in (2, 3, 5):
        for _ in range(20):
            assert _run_schedule(recipe, {}, lengths, together, generator)[0] == wanted
    ahead = {"random-000000": 8, "random-000003": 9, "random-000005": 9}
    assert _run_schedule(recipe, ahead, lengths, 2, generator)[0] == wanted
    assert Schedule(recipe, ahead).steps() == 20  # never beyond the quota
    assert _run_schedule(recipe, wanted, lengths, 2, generator) == (wanted, 0)


def test_an_episode_is_what_the_physics_does(hopper):
    """Replayed from its seed, and step by step from its own qpos and qvel, the physics gives the recorded rows."""
    episode = Recorder(hopper).record(Job("random", 3, seed=5))
    assert episode.terminated and not episode.truncated and len(episode) < 200
    assert (episode.behaviour, episode.control_dt) == ("random", hopper.control_dt)
    env = make_physics(hopper)
    observation, _ = env.reset(seed=episode.seed)
    for t in range(len(episode)):
        np.testing.assert_array_equal(np.float32(observation), episode.observations[t])
        np.testing.assert_array_equal(get_physics_state(env), (episode.qpos[t], episode.qvel[t]))
        observation, reward, terminated, _, _ = env.step(episode.actions[t])
        assert np.float32(reward) == episode.rewards[t]
        assert terminated == (t == len(episode) - 1)
    np.testing.assert_array_equal(np.float32(observation), episode.observations[-1])
    set_physics_state(env, episode.qpos[4], episode.qvel[4])
    np.testing.assert_allclose(env.step(episode.actions[4])[0], episode.observations[5], atol=1e-4)


def test_episodes_depend_on_seed_behaviour_and_number_alone(reacher):
    recorder = Recorder(reacher)
    first = recorder.record(Job("smooth", 1, seed=0))
    recorder.record(Job("random", 0, seed=0))
    again = recorder.record(Job("smooth", 1, seed=0))
    np.testing.assert_array_equal(first.observations, again.observations)
    cut = recorder.record(Job("smooth", 1, seed=0, limit=10))
    np.testing.assert_array_equal(first.observations[:11], cut.observations)
    assert (cut.terminated, cut.truncated, len(cut)) == (False, True, 10)
    others = [Job("smooth", 2, 0), Job("smooth", 1, 1), Job("random", 1, 0)]
    for other in others:
        assert not np.allclose(first.actions, recorder.record(other).actions)
        assert recorder.record(other).seed != first.seed


def test_recording_here_fills_the_quotas(reacher):
    kept, told = {}, []

    def discard(key):
        kept.pop(key, None)

    keys = record_episodes(reacher, Recipe(130), kept.__setitem__, discard, {}, progress=told.append)
    assert keys == ["random-000000", "random-000001", "smooth-000000", "smooth-000001"]
    assert [len(kept[key]) for key in keys] == [50, 15, 50, 15]
    assert told == [0, 50, 65, 115, 130]
    assert all(kept[key].truncated for key in keys)


def test_several_policies_are_recorded_side_by_side(reacher):
    """Reacher's torques are within -1 and 1: the one presses the first joint to its bound, the other lets it be."""

    class Idle(Still):
        def predict(self, observation, *, deterministic=True):
            return np.array([0.0, 0.0]), None

    kept = {}
    recipe = Recipe(40, 0, {"press": 1, "idle": 1}, {"press": Still, "idle": Idle})
    keys = record_episodes(reacher, recipe, kept.__setitem__, lambda key: None, {})
    assert keys == ["press-000000", "idle-000000"]
    np.testing.assert_array_equal(kept[keys[0]].actions, np.tile(np.float32([[1.0, 0.5]]), (20, 1)))
    assert not kept[keys[1]].actions.any()
