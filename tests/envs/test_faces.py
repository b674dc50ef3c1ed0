"""The three faces of one imagination: the contract of Gymnasium and of stable-baselines3, and their agreement."""

import copy
import dataclasses
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from wm_gym.envs import RolloutState, WorldModelEnv, WorldModelVectorEnv
from wm_gym.envs.sb3 import WorldModelVecEnv
from wm_gym.errors import ActionError, ConfigError, ModelError, ObservationError
from wm_gym.models import list_models
from wm_gym.types import BoxSpec

# What Gymnasium's own tests allow.
ALLOWED = (
    "ignore:.*A Box observation space m",
    "ignore:.*For Box action spaces, we recommend",
    "ignore:.*We recommend you to use a symmetric and normalized Box action space",
)


def rollout(env, steps, seed):
    observation, _ = env.reset(seed=seed)
    env.action_space.seed(seed)
    seen = [observation]
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        seen += [observation, np.float64(reward), info["uncertainty"]]
        if terminated or truncated:
            seen.append(env.reset()[0])
    return seen


@pytest.fixture(params=["point_mass", *list_models()])
def model(request):
    return request.getfixturevalue("point_mass") if request.param == "point_mass" else request.param


@pytest.mark.filterwarnings(*ALLOWED)
def test_checkers_of_gymnasium_and_sb3_find_nothing(model):
    check_env(WorldModelEnv(model), skip_render_check=True)
    sb3_check_env(WorldModelEnv(model))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", *ALLOWED)
def test_torchrls_checker_finds_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing torchrl warns about its own optional parts
        from torchrl.envs import GymEnv
        from torchrl.envs.utils import check_env_specs
    check_env_specs(GymEnv("wm_gym:WorldModel-v0"))


def test_same_seed_same_rollout_to_the_bit(model):
    first, second = (rollout(WorldModelEnv(model), 120, seed=3) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    other = rollout(WorldModelEnv(model), 120, seed=4)
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=False))


def test_reset_without_a_seed_goes_on_with_new_starts(model):
    env = WorldModelEnv(model)
    firsts = [env.reset(seed=5)[0], *(env.reset()[0] for _ in range(5))]
    assert len({o.tobytes() for o in firsts}) > 1
    again = [env.reset(seed=5)[0], *(env.reset()[0] for _ in range(5))]
    assert np.array_equal(firsts, again)


def test_one_step_from_equal_states_agrees_between_the_faces(model):
    single, vector = WorldModelEnv(model), WorldModelVectorEnv(3, model)
    vec = WorldModelVecEnv(model, 3, seed=10)
    action = np.stack([single.action_space.sample()] * 3)
    single.reset(seed=11)
    observations, _ = vector.reset(seed=10)
    assert np.allclose(vec.reset(), observations)
    by_single, by_vector = single.step(action[1]), vector.step(action)
    by_vec = vec.step(action)
    exact = 1 if by_single[0].dtype == np.uint8 else 1e-5  # one level: a batch of another size rounds otherwise
    assert np.allclose(by_single[0].astype(float), by_vector[0][1].astype(float), atol=exact)
    assert np.allclose(by_vector[0].astype(float), by_vec[0].astype(float), atol=exact)
    assert by_single[1] == pytest.approx(by_vector[1][1], abs=1e-5)
    assert by_single[4]["uncertainty"] == pytest.approx(by_vec[3][1]["uncertainty"], abs=1e-5)


def test_a_state_goes_on_identically_also_pickled(model):
    env = WorldModelEnv(model, horizon=1000)
    env.reset(seed=1)
    actions = [env.action_space.sample() for _ in range(6)]
    env.step(actions[0])
    state, twin = env.get_state(), pickle.loads(pickle.dumps(env))
    onwards = [env.step(a)[0] for a in actions]
    env.set_state(pickle.loads(pickle.dumps(state)))
    assert np.array_equal(onwards, [env.step(a)[0] for a in actions])
    assert np.array_equal(onwards, [twin.step(a)[0] for a in actions])
    env.reset(options={"state": state})
    assert np.array_equal(onwards, [env.step(a)[0] for a in actions])


def test_forks_share_noise_or_draw_their_own(point_mass):
    parent = WorldModelEnv(point_mass)
    parent.reset(seed=1)
    state = parent.get_state()
    forks = WorldModelVectorEnv(4, point_mass)
    push = np.full((4, 1), 0.5, np.float32)
    forks.reset(options={"state": state})
    shared = forks.step(push)[0]
    assert (shared == shared[0]).all()
    forks.reset(seed=7, options={"state": state})
    assert len(np.unique(forks.step(push)[0][:, 1])) == 4


def test_states_of_some_rows_can_be_read_and_written(point_mass):
    envs = WorldModelVectorEnv(5, point_mass)
    envs.reset(seed=0)
    envs.step(np.zeros((5, 1), np.float32))
    kept = envs.get_state([1, 3])
    before = envs.get_state()
    envs.step(np.ones((5, 1), np.float32))
    envs.set_state(kept, [1, 3])
    after = envs.get_state()
    assert torch.equal(after.observation[[1, 3]], before.observation[[1, 3]])
    assert after.steps.tolist() == [2, 1, 2, 1, 2]


@pytest.mark.parametrize("bad", [np.array([np.nan]), np.array([np.inf]), np.zeros(2), np.zeros((1, 1))])
def test_a_bad_action_is_refused_and_changes_nothing(point_mass, bad):
    env = WorldModelEnv(point_mass)
    env.reset(seed=0)
    state = env.get_state()
    with pytest.raises(ActionError) as caught:
        env.step(bad.astype(np.float32))
    assert isinstance(caught.value, ValueError)
    expected = env.step(np.array([0.3], np.float32))[0]
    env.set_state(state)
    assert np.array_equal(env.step(np.array([0.3], np.float32))[0], expected)


def test_an_action_out_of_bounds_is_clipped(point_mass):
    env = WorldModelEnv(point_mass, deterministic=True)
    env.reset(options={"observation": np.array([0.5, 0.2])})
    assert env.step(np.array([100.0], np.float32))[0] == pytest.approx([0.53, 0.3])


def test_episodes_end_in_the_same_step_with_their_final_observation(point_mass):
    envs = WorldModelVectorEnv(4, point_mass, horizon=3, deterministic=True)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    first, _ = envs.reset(seed=0)
    push = np.ones((4, 1), np.float32)
    for _ in range(2):
        *_, info = envs.step(push)
        assert "final_obs" not in info
    last, _, terminated, truncated, info = envs.step(push)
    assert truncated.all() and not terminated.any()
    for row in range(4):
        assert info["final_obs"][row] == pytest.approx([first[row, 0] + 0.06, 0.3], abs=1e-6)
    assert (last[:, 1] == 0).all()  # a start state stands still
    assert (info["uncertainty"] == 0).all() and (info["final_info"]["uncertainty"] > 0).all()


def test_rows_end_alone(point_mass):
    envs = WorldModelVectorEnv(2, point_mass, deterministic=True)
    envs.reset(options={"observation": np.array([[0.99, 0.5], [0.0, 0.0]])})
    observation, _, terminated, truncated, info = envs.step(np.zeros((2, 1), np.float32))
    assert terminated.tolist() == [True, False] and not truncated.any()
    assert info["_final_obs"].tolist() == [True, False] and info["final_obs"][1] is None
    assert info["final_obs"][0] == pytest.approx([1.04, 0.5])
    assert observation[1] == pytest.approx([0.0, 0.0])


def test_sb3_sees_the_terminal_observation_and_why(point_mass):
    envs = WorldModelVecEnv(point_mass, 2, seed=0, horizon=2, deterministic=True)
    envs.set_options({"observation": np.array([[0.99, 0.5], [0.0, 0.0]])})
    envs.reset()
    still = np.zeros((2, 1), np.float32)
    _, _, done, infos = envs.step(still)
    assert done.tolist() == [True, False]
    assert infos[0]["terminal_observation"] == pytest.approx([1.04, 0.5]) and not infos[0]["TimeLimit.truncated"]
    assert infos[0]["episode"]["r"] == pytest.approx(-(1.04**2), rel=1e-5) and infos[0]["episode"]["l"] == 1
    _, _, done, infos = envs.step(still)
    assert done.tolist() == [False, True] and infos[1]["TimeLimit.truncated"] and infos[1]["episode"]["l"] == 2


def test_returned_arrays_are_never_written_again(model):
    for envs in (WorldModelVectorEnv(6, model, horizon=4), WorldModelVecEnv(model, 6, seed=0, horizon=4)):
        rng = np.random.default_rng(0)
        first = envs.reset()
        held = [first[0] if isinstance(first, tuple) else first]
        kept = [held[0].copy()]
        for _ in range(12):
            low, high = WorldModelEnv(model).action_space.low, WorldModelEnv(model).action_space.high
            result = envs.step(rng.uniform(low, high, (6, len(low))).astype(np.float32))
            held += [result[0], result[1]]
            kept += [result[0].copy(), result[1].copy()]
        assert all(np.array_equal(a, b) for a, b in zip(held, kept, strict=True))


def test_what_ppo_keeps_equals_a_log_of_the_steps(point_mass):
    from stable_baselines3 import PPO

    log = []

    class Logged(WorldModelVecEnv):
        def step_wait(self):
            result = super().step_wait()
            log.append((self._actions.copy(), *(copy.deepcopy(part) for part in result)))
            return result

    envs = Logged(point_mass, 4, seed=0, horizon=5)
    learner = PPO("MlpPolicy", envs, n_steps=16, batch_size=32, seed=0, gamma=0.9)
    learner.learn(64)
    buffer = learner.rollout_buffer
    # SB3 adds the discounted value of the terminal observation where an episode was cut.
    for t, (actions, observation, reward, done, infos) in enumerate(log):
        assert np.allclose(np.clip(buffer.actions.reshape(4, 16, 1).swapaxes(0, 1)[t], -1, 1), actions, atol=1e-6)
        if t + 1 < 16:
            assert np.array_equal(buffer.observations.reshape(4, 16, 2).swapaxes(0, 1)[t + 1], observation)
        whole = np.array([not info.get("TimeLimit.truncated", False) for info in infos])
        assert np.allclose(buffer.rewards[t][whole], reward[whole])
        if t + 1 < 16:
            assert np.array_equal(buffer.episode_starts[t + 1].astype(bool), done)


@pytest.mark.parametrize("num_envs", [1, 2, 3, 64, 1001, 5000])
def test_any_number_of_environments(model, num_envs):
    envs = WorldModelVectorEnv(num_envs, model)
    observation, info = envs.reset(seed=0)
    result = envs.step(envs.action_space.sample())
    assert observation.shape == result[0].shape == (num_envs, *envs.single_observation_space.shape)
    assert all(part.shape == (num_envs,) for part in (*result[1:4], info["uncertainty"], info["trusted"]))


def test_gym_make_and_make_vec_reach_the_native_environments(point_mass):
    import wm_gym  # noqa: F401  registers the id

    assert gym.spec("WorldModel-v0").max_episode_steps is None
    env = gym.make("WorldModel-v0", model=point_mass, max_episode_steps=2)
    env.reset(seed=0)
    assert [env.step(np.zeros(1, np.float32))[3] for _ in range(2)] == [False, True]
    envs = gym.make_vec("WorldModel-v0", num_envs=3, model=point_mass, max_episode_steps=2)
    assert type(envs.unwrapped) is WorldModelVectorEnv
    envs.reset(seed=0)
    assert [envs.step(np.zeros((3, 1), np.float32))[3].all() for _ in range(2)] == [False, True]


@pytest.mark.parametrize(
    ("build", "error", "named"),
    [
        (lambda m: WorldModelEnv("nobody"), ModelError, "no model 'nobody'"),
        (lambda m: WorldModelEnv(m, horizn=3), ConfigError, "unexpected keyword argument 'horizn'"),
        (lambda m: WorldModelEnv(m, horizn=3), TypeError, "unexpected keyword argument 'horizn'"),
        (lambda m: WorldModelEnv(m, render_mode="human"), ConfigError, "render_mode='human'"),
        (lambda m: WorldModelEnv(m, device="tpu"), ConfigError, "device='tpu'"),
        (lambda m: WorldModelVectorEnv(0, m), ConfigError, "num_envs=0"),
        (lambda m: WorldModelVectorEnv(2, m, max_episode_steps=0), ConfigError, "max_episode_steps=0"),
        (lambda m: WorldModelEnv(m).step(np.zeros(1)), ConfigError, "reset"),
        (lambda m: WorldModelEnv(m).reset(options={"stat": 1}), ConfigError, "unknown reset option 'stat'"),
        (lambda m: WorldModelEnv(m).reset(options={"observation": np.zeros(3)}), ObservationError, r"shape \(3,\)"),
        (lambda m: WorldModelEnv(m).reset(options={"state": 3}), ObservationError, "not int"),
    ],
)
def test_bad_input_is_named(point_mass, build, error, named):
    with pytest.raises(error, match=named):
        build(point_mass)


def test_a_context_is_observed_up_to_its_end(point_mass):
    env = WorldModelEnv(point_mass, deterministic=True)
    observations = np.array([[0.0, 0.0], [0.1, 0.2], [0.5, 0.2]])
    first, _ = env.reset(options={"observations": observations, "actions": np.zeros((2, 1))})
    assert first == pytest.approx([0.5, 0.2])
    assert env.step(np.array([1.0], np.float32))[0] == pytest.approx([0.53, 0.3])


def test_writing_into_what_was_returned_changes_nothing(point_mass):
    envs = WorldModelVectorEnv(3, point_mass, deterministic=True)
    first, _ = envs.reset(seed=0)
    expected = first.copy()
    first -= 100
    assert np.array_equal(envs.get_state().observation.numpy(), expected)
    second, *_ = envs.step(np.zeros((3, 1), np.float32))
    kept = second.copy()
    second *= 0
    assert np.array_equal(envs.get_state().observation.numpy(), kept)


def test_rows_without_a_seed_go_on_and_the_others_are_seeded(point_mass):
    envs = WorldModelVectorEnv(3, point_mass)
    envs.reset(seed=[5, 6, 7])
    envs.reset(seed=[1, None, 3])
    state = envs.get_state()
    assert state.seeds.tolist() == [1, 6, 3] and state.episodes.tolist() == [0, 1, 0]
    alone = WorldModelEnv(point_mass)
    assert np.array_equal(alone.reset(seed=3)[0], state.observation[2].numpy())


def test_a_state_of_another_model_or_with_nan_is_refused_and_changes_nothing(point_mass):
    env = WorldModelEnv(point_mass)
    env.reset(seed=0)
    before = env.get_state()
    broken = before.map(lambda value: value * float("nan") if value.is_floating_point() else value)
    foreign = RolloutState.of_tensors(
        {**before.tensors(), "latent.state": torch.zeros(1, 3)},
    )
    unnamed = RolloutState.of_tensors({n: v for n, v in before.tensors().items() if n != "latent.reward"})
    for state, named in ((broken, "not finite"), (foreign, "has shape"), (unnamed, "the state holds")):
        with pytest.raises(ObservationError, match=named):
            env.set_state(state)
    assert torch.equal(env.get_state().observation, before.observation)


def test_rows_are_named_by_number_or_mask(point_mass):
    envs = WorldModelVectorEnv(4, point_mass)
    envs.reset(seed=0)
    assert torch.equal(envs.get_state([1, 3]).seeds, envs.get_state(np.array([0, 1, 0, 1], bool)).seeds)
    with pytest.raises(ConfigError, match="environments 0 to 3"):
        envs.get_state([9])


def test_a_state_deep_in_a_rollout_keeps_its_uncertainty(point_mass):
    env = WorldModelEnv(point_mass, deterministic=True)
    env.reset(options={"observation": np.array([0.5, 0.0])})
    for _ in range(12):
        *_, info = env.step(np.zeros(1, np.float32))
    assert not info["trusted"]
    _, again = env.reset(options={"state": env.get_state()})
    assert again["uncertainty"] == pytest.approx(info["uncertainty"]) and not again["trusted"]


def test_an_environment_on_another_device_leaves_a_shared_model_alone(point_mass):
    moved = point_mass.to("cpu")
    assert moved.model is point_mass.model
    elsewhere = point_mass.to("meta")
    assert elsewhere.model is not point_mass.model
    assert point_mass.model.normalizer.mean.device.type == "cpu"


def test_what_a_space_bounds_is_shown_within_it(point_mass):
    task = dataclasses.replace(point_mass.task, observation_space=BoxSpec((-1.0, -0.05), (1.0, 0.05)))
    model = copy.deepcopy(point_mass.model)
    model.task = task
    env = WorldModelEnv(dataclasses.replace(point_mass, model=model), deterministic=True)
    env.reset(options={"observation": np.array([0.5, 0.0])})
    observation, *_ = env.step(np.ones(1, np.float32))
    assert env.observation_space.contains(observation) and observation[1] == pytest.approx(0.05)


def test_sb3_calls_reach_the_rows_that_they_name(point_mass):
    envs = WorldModelVecEnv(point_mass, 3, seed=0)
    envs.set_options([{"observation": np.array([row / 10, 0.0])} for row in range(3)])
    assert envs.reset()[:, 0] == pytest.approx([0.0, 0.1, 0.2])
    (kept,) = envs.env_method("get_state", indices=[1])
    assert kept.seeds.tolist() == [1]
    envs.step(np.ones((3, 1), np.float32))
    envs.env_method("set_state", kept, indices=[1])
    assert envs.get_state().steps.tolist() == [1, 0, 1]
    with pytest.raises(ConfigError, match="name all of them"):
        envs.set_attr("render_mode", None, indices=[0])
    with pytest.raises(ConfigError, match="one dictionary for all rows"):
        envs.set_options([{"observation": np.zeros(2)}, {"state": kept}, {}])
        envs.reset()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"actions": np.zeros((2, 1))}, ConfigError),
        ({"observations": np.zeros((3, 2)), "actions": 0.5}, ObservationError),
        ({"observations": np.zeros((3, 2)), "actions": np.zeros(2)}, ObservationError),
        ({"observations": [[0.0, 0.0], [0.0]]}, ObservationError),
        ({"observation": "here"}, ObservationError),
    ],
)
def test_a_malformed_start_is_refused(point_mass, options, error):
    with pytest.raises(error):
        WorldModelEnv(point_mass).reset(options=options)


def test_a_huge_finite_action_is_clipped(point_mass):
    env = WorldModelEnv(point_mass, deterministic=True)
    env.reset(options={"observation": np.array([0.5, 0.2])})
    assert env.step(np.array([1e300]))[0] == pytest.approx([0.53, 0.3])
    assert env.step([1])[0].dtype == np.float32
