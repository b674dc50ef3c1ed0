import gymnasium
import numpy as np
import pytest

from wm_gym.errors import ConfigError, RenderError
from wm_gym.physics.observation_map import qpos_from_observation
from wm_gym.physics.tasks import (
    get_physics_state,
    list_tasks,
    make_physics,
    physics_of,
    set_physics_state,
    task_spec,
)
from wm_gym.types import BoxSpec, ObservationMap, TaskSpec

# name: observations, actions, control period, episode limit, numbers of qpos that cannot be observed
ROBOTS = {
    "reacher": (10, 2, 0.02, 50, []),
    "inverted_pendulum": (4, 1, 0.04, 1000, []),
    "inverted_double_pendulum": (9, 1, 0.05, 1000, []),
    "pusher": (23, 7, 0.05, 100, [9, 10]),
    "swimmer": (8, 2, 0.04, 1000, [0, 1]),
    "hopper": (11, 3, 0.008, 1000, [0]),
    "half_cheetah": (17, 6, 0.05, 1000, [0]),
    "walker2d": (17, 6, 0.008, 1000, [0]),
    "ant": (27, 8, 0.05, 1000, [0, 1]),
    "humanoid": (348, 17, 0.015, 1000, [0, 1]),
}


@pytest.fixture(scope="module")
def specs():
    return {name: task_spec(name) for name in list_tasks()}


def test_the_ten_robots_are_as_gymnasium_makes_them(specs):
    assert set(specs) == set(ROBOTS)
    for name, (observations, actions, dt, limit, _) in ROBOTS.items():
        spec = specs[name]
        assert (spec.observation_space.size, spec.action_space.size) == (observations, actions), name
        assert spec.control_dt == pytest.approx(dt), name
        assert spec.max_episode_steps == limit == gymnasium.spec(spec.env_id).max_episode_steps, name
        assert len(spec.cameras) == 1
        assert TaskSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize("name", ROBOTS)
def test_qpos_is_found_in_the_observation(specs, name):
    """Along random play, qpos read back from the observation is qpos, but for what the observation leaves out."""
    spec, hidden = specs[name], ROBOTS[name][-1]
    assert [i for i, entry in enumerate(spec.observation_map.qpos) if entry["kind"] == "constant"] == hidden
    env = make_physics(spec)
    env.action_space.seed(1)
    seen = np.setdiff1d(np.arange(len(spec.observation_map.qpos)), hidden)
    tolerance = 0.03 if name == "pusher" else 1e-9  # the pushed object is observed one physics step (0.01 s) late
    observation, _ = env.reset(seed=77)
    for _ in range(20):
        truth = get_physics_state(env)[0]
        if spec.observation_map.quaternions:
            truth[3:7] /= np.linalg.norm(
                truth[3:7]
            )  # Gymnasium's reset noise leaves it a little off, as it is observed
        difference = qpos_from_observation(spec.observation_map, observation) - truth
        turn = [i for i in seen if spec.observation_map.qpos[i]["kind"] == "angle"]
        difference[turn] = np.angle(np.exp(1j * difference[turn]))
        assert np.abs(difference[seen]).max() < tolerance
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            break


def test_angles_pairs_and_quaternions(specs):
    maps = {name: spec.observation_map for name, spec in specs.items()}
    assert maps["reacher"].sin_cos == ((2, 0), (3, 1))
    assert [maps["reacher"].qpos[i]["index"] for i in (2, 3)] == [4, 5]
    assert maps["inverted_double_pendulum"].sin_cos == ((1, 3), (2, 4))
    assert [entry["index"] for entry in maps["hopper"].qpos[1:]] == [0, 1, 2, 3, 4]
    assert [maps[name].angles for name in ("hopper", "half_cheetah", "walker2d", "swimmer")] == [(1,), (1,), (1,), (0,)]
    assert [maps[name].quaternions for name in ("ant", "humanoid")] == [(1,), (1,)]
    assert maps["inverted_pendulum"] == ObservationMap(qpos=maps["inverted_pendulum"].qpos)
    for name in ("reacher", "inverted_double_pendulum", "ant", "humanoid"):
        assert maps[name].angles == (), name


def test_a_drawn_quaternion_is_made_unit(specs):
    described = specs["ant"].observation_map
    observation = np.zeros(27)
    observation[1:5] = [0.0, 3.0, 0.0, 4.0]
    np.testing.assert_allclose(qpos_from_observation(described, observation)[3:7], [0, 0.6, 0, 0.8])
    np.testing.assert_allclose(qpos_from_observation(described, np.zeros(27))[3:7], [1, 0, 0, 0])
    with pytest.raises(RenderError, match="does not say"):
        qpos_from_observation(ObservationMap(), observation)


def test_a_linear_mixture_is_fitted():
    """Where the observation shows sums of joints, they are told apart by a fit."""

    class Mixed(gymnasium.ObservationWrapper):
        def observation(self, observation):
            return np.array([observation[0] + observation[1], observation[0] - observation[1], 7.0, observation[2]])

    from wm_gym.physics.observation_map import describe_observation

    env = Mixed(make_physics(task_spec("inverted_pendulum")))
    described = describe_observation(env, seed=0)
    assert [entry["kind"] for entry in described.qpos] == ["fitted", "fitted"]
    assert described.qpos[0]["r2"] > 0.9999
    observation, _ = env.reset(seed=5)
    np.testing.assert_allclose(qpos_from_observation(described, observation), get_physics_state(env)[0], atol=1e-6)


def test_a_state_that_is_set_continues_the_same_whatever_came_before(specs):
    one, other = make_physics(specs["hopper"]), make_physics(specs["hopper"])
    one.reset(seed=0)
    other.reset(seed=9)
    for _ in range(5):
        one.step(np.array([0.3, -0.5, 0.2], np.float32))
    state = get_physics_state(one)
    follow = []
    for env in (one, other):
        observed = set_physics_state(env, *state)
        np.testing.assert_allclose(observed[:5], state[0][1:])
        follow.append([env.step(np.array([0.5, 0.5, -0.5], np.float32))[0] for _ in range(10)])
    np.testing.assert_array_equal(*follow)
    with pytest.raises(ConfigError, match=r"\(6,\) and \(6,\)"):
        set_physics_state(one, state[0][1:], state[1])


def test_the_time_limit_is_the_tasks_or_the_given_one(specs):
    def length(env):
        env.reset(seed=0)
        action, steps, over = np.zeros(2, np.float32), 0, False
        while not over:
            over = env.step(action)[3]
            steps += 1
        return steps

    assert length(make_physics(specs["reacher"])) == 50
    assert length(make_physics(specs["reacher"], max_episode_steps=7)) == 7
    assert length(make_physics(task_spec("reacher", max_episode_steps=120))) == 120


def test_other_mujoco_ids_are_described_too():
    standup = task_spec(env_id="HumanoidStandup-v5")
    assert (standup.name, standup.cameras[0].fixed) == ("HumanoidStandup-v5", "track")
    older = task_spec("hopper", env_id="Hopper-v4", env_kwargs={"exclude_current_positions_from_observation": False})
    assert (older.name, older.observation_space.size, older.cameras[0].track_body) == ("hopper", 12, "torso")
    assert all(entry["kind"] == "linear" for entry in older.observation_map.qpos)
    assert task_spec("hopper", env_id="Reacher-v4").name == "Reacher-v4"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"name": "robot_dog"}, "'robot_dog' does not exist .*reacher.*humanoid"),
        ({"env_id": "os.path:Reacher-v5"}, "os.path:Reacher-v5 is refused"),
        ({"env_id": "Nothing-v5"}, "Nothing-v5 is not registered.*Reacher-v5"),
        ({"env_id": "CartPole-v1"}, "CartPole-v1 is not a MuJoCo environment"),
        ({"env_id": "Reacher-v2"}, "Reacher-v2 is not a MuJoCo environment"),
        ({"name": "reacher", "env_kwargs": {"colour": 1}}, "colour"),
    ],
)
def test_a_wrong_task_is_named_in_one_line(asked, words):
    with pytest.raises(ConfigError, match=words) as caught:
        task_spec(**asked)
    assert "\n" not in str(caught.value)


def test_a_recording_without_a_simulator_has_no_physics():
    with pytest.raises(ConfigError, match="without a simulator"):
        make_physics(TaskSpec("arm", BoxSpec((), ()), BoxSpec((-1.0,), (1.0,)), 0.1, 10))
    with pytest.raises(ConfigError, match="not a Gymnasium MuJoCo environment"):
        physics_of(gymnasium.make("CartPole-v1"))


def test_making_a_robot_leaves_no_trace(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    task_spec("half_cheetah")
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""
