"""The gate on a point mass whose model is exact but for a known noise: every alarm has a cause put there by hand."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest

from wm_gym.envs import GateCalibration, SafetyGate
from wm_gym.envs.surprise import DETECTORS, one_step_errors
from wm_gym.errors import ActionError, ConfigError, DataError, ModelError, ObservationError
from wm_gym.types import Episode

NOISE = 1e-3


class RealMass(gym.Env):
    """v' = v + a / 10 + wind + noise, x' = x + v' / 10; ``sense`` is what its sensors make of (x, v)."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, wind=0.0, sense=lambda state, step: state):
        self.wind, self.sense, self.moved = wind, sense, 0

    def _look(self):
        return self.sense(np.array(self.state, np.float32), self.steps)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.steps = (self.np_random.uniform(0, 0.3), 0.0), 0
        return self._look(), {"own": 1}

    def step(self, action):
        x, v = self.state
        v = v + float(action[0]) / 10 + self.wind + NOISE * self.np_random.normal()
        self.state, self.steps, self.moved = (x + v / 10, v), self.steps + 1, self.moved + 1
        return self._look(), -(self.state[0] ** 2), False, self.steps >= 20, {}


def policy(observation):
    return np.array([np.clip(-3 * observation[0] - 2 * observation[1], -1, 1)], np.float32)


def record(seed, env=None):
    env = env or RealMass()
    observations, actions = [env.reset(seed=seed)[0]], []
    for _ in range(20):
        actions.append(policy(observations[-1]))
        observations.append(env.step(actions[-1])[0])
    return Episode(np.stack(observations), np.stack(actions), np.zeros(20, np.float32), False, True, 0.1)


@pytest.fixture
def calibration(point_mass):
    return SafetyGate.calibrate(point_mass, [record(seed) for seed in range(60)])


def play(gate, seed=1000, steps=20):
    """Infos of the steps until the episode ends."""
    observation, info = gate.reset(seed=seed)
    infos = [info]
    for _ in range(steps):
        observation, _, terminated, truncated, info = gate.step(policy(observation))
        assert np.isfinite(observation).all()
        infos.append(info)
        if terminated or truncated:
            break
    return infos


def test_the_usual_error_is_the_noise_that_the_model_does_not_know(point_mass, calibration):
    assert calibration.error == pytest.approx((1e-3, NOISE), rel=0.1)  # of x the floor: a thousandth of a deviation
    errors, spread = one_step_errors(point_mass, np.array([[0.5, 0.2], [0.53, 0.35]]), np.array([[1.0]]))
    assert errors[0] == pytest.approx([0.0, 0.05], abs=1e-6) and spread == pytest.approx([0.053])
    assert calibration.steps == 20 and calibration.episodes == 40 and calibration.model is None


def test_few_unbroken_episodes_are_stopped(point_mass, calibration):
    """Conformal: at most 5 % on average over calibrations; with 38 of 39 scores the chance of ever more is small."""
    scores = [
        calibration.judge(point_mass, e.observations, e.actions).score.max()
        for e in (record(seed) for seed in range(5000, 5200))
    ]
    assert np.mean(np.array(scores) > calibration.threshold) < 0.12


def test_nothing_happens_while_nothing_is_wrong(point_mass, calibration):
    infos = play(SafetyGate(RealMass(), point_mass, calibration))
    assert len(infos) == 21 and infos[0]["own"] == 1
    assert not any(info["gate"]["alarm"] or "stopped" in info for info in infos)
    assert {info["gate"]["acting"] for info in infos[1:]} == {"policy"}
    assert all(0 <= info["gate"]["score"] <= calibration.threshold for info in infos)


def test_a_sensor_that_leaps_stops_the_robot_at_once_and_for_good(point_mass, calibration):
    env = RealMass(sense=lambda state, step: state + np.array([0.0, 0.2 * (step >= 7)]))
    gate = SafetyGate(env, point_mass, calibration)
    *before, last = play(gate)
    assert len(before) == 7 and not any(info["gate"]["alarm"] for info in before)
    gate_info = last["gate"]
    assert last["stopped"] and (gate_info["reason"], gate_info["dimension"], gate_info["step"]) == ("jump", 1, 7)
    moved = env.moved
    observation, reward, terminated, truncated, info = gate.step(np.ones(1, np.float32))
    assert (reward, terminated, truncated, info["stopped"]) == (0.0, False, True, True)
    assert env.moved == moved and info["gate"]["acting"] == "nobody" and np.isfinite(observation).all()
    gate.reset(seed=3)
    assert not gate.step(np.zeros(1, np.float32))[4]["gate"]["alarm"]


def test_a_steady_wind_is_met_as_drift(point_mass, calibration):
    infos = play(SafetyGate(RealMass(wind=2 * NOISE), point_mass, calibration), seed=1)
    assert infos[-1]["stopped"] and infos[-1]["gate"]["reason"] == "drift" and infos[-1]["gate"]["dimension"] == 1


def test_a_state_that_nobody_recorded_is_outside_the_support_even_at_the_start(point_mass, calibration):
    far = RealMass(sense=lambda state, step: state + np.array([30.0, 0.0]))
    gate = SafetyGate(far, point_mass, calibration)
    _, info = gate.reset(seed=0)
    assert info["gate"]["alarm"] and info["gate"]["reason"] == "support" and info["gate"]["dimension"] == 0
    assert gate.step(np.zeros(1, np.float32))[3] and far.moved == 0


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("since", [0, 4])
def test_a_reading_that_is_no_number_is_an_alarm_and_never_shown(point_mass, calibration, wrong, since):
    env = RealMass(sense=lambda state, step: np.array([state[0], wrong if step >= since else state[1]]))
    gate = SafetyGate(env, point_mass, calibration, fallback=lambda observation: np.zeros(1, np.float32))
    infos = play(gate)
    assert len(infos) == 21 and "stopped" not in infos[-1]
    alarm = infos[since]["gate"]
    assert alarm["alarm"] and (alarm["reason"], alarm["dimension"], alarm["step"]) == ("not finite", 1, since)
    assert np.isinf(alarm["score"])


def test_the_fallback_acts_from_the_step_after_the_alarm(point_mass, calibration):
    asked = []

    def brake(observation):
        asked.append(observation)
        return np.array([-0.5], np.float32)

    env = RealMass(sense=lambda state, step: state + np.array([0.0, 0.5 * (step >= 3)]))
    infos = play(SafetyGate(env, point_mass, calibration, fallback=brake))
    assert [info["gate"]["acting"] for info in infos[1:]] == ["policy"] * 3 + ["fallback"] * 17
    assert len(asked) == 17 and all(observation.shape == (2,) for observation in asked)


def test_watching_step_by_step_gives_what_a_recording_gives(point_mass, calibration):
    gate = SafetyGate(RealMass(), point_mass, dataclasses.replace(calibration, threshold=1e9))
    scores = [info["gate"]["score"] for info in play(gate, seed=77)]
    episode = record(77)
    assert scores == pytest.approx(calibration.judge(point_mass, episode.observations, episode.actions).score)
    assert calibration.judge(point_mass, episode.observations, episode.actions).reason(3) in DETECTORS


def test_a_calibration_survives_its_file(point_mass, calibration, tmp_path):
    calibration.save(tmp_path / "gate.json")
    assert GateCalibration.load(tmp_path / "gate.json") == calibration
    SafetyGate(RealMass(), point_mass, tmp_path / "gate.json")
    text = (tmp_path / "gate.json").read_text()
    for damaged in (text.replace('"error": [', '"error": [0, '), text.replace('"spread"', '"sprawl"'), "{}"):
        (tmp_path / "gate.json").write_text(damaged)
        with pytest.raises(ModelError, match="calibrate the gate again"):
            GateCalibration.load(tmp_path / "gate.json")


def test_what_cannot_be_calibrated_is_refused(point_mass, seen_dot):
    episodes = [record(seed) for seed in range(28)]
    with pytest.raises(ConfigError, match=r"28 episodes cannot tell a false_stop_rate of 0\.05: record about 30"):
        SafetyGate.calibrate(point_mass, episodes)
    SafetyGate.calibrate(point_mass, [*episodes, record(28), record(29)])
    with pytest.raises(ConfigError, match=r"false_stop_rate=1\.5"):
        SafetyGate.calibrate(point_mass, episodes, 1.5)
    episodes[4].observations[3, 0] = np.nan
    with pytest.raises(DataError, match="calibration episode 4"):
        SafetyGate.calibrate(point_mass, episodes, 0.2)
    with pytest.raises(ModelError, match="looks through cameras"):
        SafetyGate.calibrate(seen_dot, episodes)


def test_what_cannot_be_wrapped_is_refused(point_mass, calibration):
    env = RealMass()
    with pytest.raises(ModelError, match="calibrated for another model"):
        SafetyGate(env, point_mass, dataclasses.replace(calibration, model="0" * 64))
    env.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    with pytest.raises(ConfigError, match=r"takes actions of shape \(2,\), the model's have \(1,\)"):
        SafetyGate(env, point_mass, calibration)
    gate = SafetyGate(RealMass(sense=lambda state, step: state[:1]), point_mass, calibration)
    with pytest.raises(ObservationError, match=r"numbers of \(2,\) are needed"):
        gate.reset(seed=0)
    gate = SafetyGate(RealMass(), point_mass, calibration)
    with pytest.raises(ConfigError, match="reset"):
        gate.step(np.zeros(1))
    gate.reset(seed=0)
    with pytest.raises(ActionError):
        gate.step(np.array([np.nan]))
    assert gate.unwrapped.moved == 0
