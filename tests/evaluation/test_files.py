"""What the report reads and writes beside the page: trajectories, committed controls, agents."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from wm_gym.errors import ConfigError, ModelError
from wm_gym.evaluation.agents import read_agent
from wm_gym.evaluation.control import read_control
from wm_gym.evaluation.held_out import stack_episodes
from wm_gym.evaluation.trajectories import Recorded, predicted_episodes, write_trajectories
from wm_gym.policies.policy import Policy


def rng():
    return np.random.default_rng(0)


def test_returns_can_be_computed_again_from_the_trajectories(tmp_path, episodes):
    write_trajectories(tmp_path / "t.parquet", [Recorded("returns", "physics", "walker", episodes)], {"task": "point"})
    table = pq.read_table(tmp_path / "t.parquet").to_pandas()
    assert len(table) == 20 * 13
    sums = table.groupby("episode")["reward"].sum()
    assert sums.to_numpy() == pytest.approx([episode.rewards.sum() for episode in episodes], rel=1e-5)
    third = table[table["episode"] == 3]
    assert np.stack(third["observation"].to_list()) == pytest.approx(episodes[3].observations)
    assert third["action"].iloc[-1] is None and third["step"].tolist() == list(range(13))
    assert third["truncated"].tolist()[-2] is True and set(third["policy"]) == {"random"}


def test_predictions_are_kept_beside_what_was_known(episodes):
    held_out = stack_episodes(episodes[:2], horizon=4)
    kept = predicted_episodes(held_out, held_out.truth + 1.0, held_out.future_rewards)
    assert len(kept) == 2 and len(kept[0]) == 5
    assert kept[0].observations[:2] == pytest.approx(episodes[0].observations[:2])
    assert kept[0].observations[2:] == pytest.approx(episodes[0].observations[2:6] + 1.0, rel=1e-5)


def test_only_controls_of_the_same_number_of_real_steps_count(tmp_path):
    rows = [
        {"method": "SAC", "seed": seed, "real_steps": steps, "episode_returns": [-5.0, -7.0]}
        for seed, steps in ((0, 20000), (1, 20000), (0, 5000))
    ]
    rows.append({**rows[0], "world": "imagination"})
    path = tmp_path / "control_point.json"
    path.write_text(json.dumps({"rows": rows}))
    found = read_control(path, 20000, rng())
    assert [entry.name for entry in found] == ["SAC, seed 0", "SAC, seed 1"]
    assert found[0].physical.value == -6.0
    assert read_control(tmp_path / "other.json", 20000, rng()) == []


def test_a_damaged_control_is_named(tmp_path):
    path = tmp_path / "control_point.json"
    path.write_text('{"rows": [{"method": "SAC"}]}')
    with pytest.raises(ConfigError, match=r"control_point\.json"):
        read_control(path, None, rng())


def save_policy(folder, observations=2, actions=2):
    tensors = {
        "mean": torch.zeros(observations),
        "scale": torch.ones(observations),
        "low": -torch.ones(actions),
        "high": torch.ones(actions),
        "weight.0": torch.full((actions, observations), -0.1),
        "bias.0": torch.zeros(actions),
    }
    Policy(tensors, "tanh", False, {"algorithm": "ppo", "seed": 3, "world": "imagination"}).save(folder / "policy")


def test_an_agent_is_read_with_what_is_known_of_it(tmp_path, task):
    save_policy(tmp_path)
    (tmp_path / "result.json").write_text(json.dumps({"steps": 1000, "command": "python agents/train_agent.py"}))
    agent = read_agent(tmp_path, task)
    assert (agent.contender.name, agent.contender.kind) == ("PPO in imagination, seed 3", "imagination")
    assert agent.contender.details["imagined_steps"] == 1000
    assert agent.command == "python agents/train_agent.py" and len(agent.sha256) == 64
    acted = agent.contender.actor.act(np.ones((4, 2), np.float32), np.arange(4), 0)
    assert acted == pytest.approx(np.full((4, 2), -0.2))


@pytest.mark.parametrize(("observations", "actions"), [(3, 2), (2, 5)])
def test_an_agent_of_another_robot_is_refused(tmp_path, task, observations, actions):
    save_policy(tmp_path, observations, actions)
    with pytest.raises(ModelError, match="point"):
        read_agent(tmp_path, task)


def test_a_folder_without_a_policy_is_refused(tmp_path, task):
    with pytest.raises(ModelError):
        read_agent(tmp_path, task)
