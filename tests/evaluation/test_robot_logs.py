"""Logs of an altered robot: their rows say what happened, and reading them gives it back."""

import csv

import numpy as np
import pytest

from wm_gym.config import read_settings
from wm_gym.data.logs import ColumnMap, read_logs
from wm_gym.evaluation.robot_logs import (
    MAP,
    column_map,
    import_logs,
    log_files,
    read_motions,
    record_logs,
    write_log,
)
from wm_gym.physics.alteration import Alteration
from wm_gym.physics.collect import Recipe
from wm_gym.physics.tasks import task_spec
from wm_gym.types import Episode

TASK = task_spec("reacher", max_episode_steps=10, cameras=())


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robot") / "logs"
    record_logs(TASK, Alteration(gain=0.7), Recipe(45), 2, folder)
    return folder


def test_a_row_holds_a_moment_the_commands_before_it_and_the_one_given_there(tmp_path):
    episode = Episode(
        observations=np.array([[0.5], [1.5], [2.5]], np.float32),
        actions=np.array([[0.1], [0.2]], np.float32),
        rewards=np.array([1.0, 2.0], np.float32),
        terminated=True,
        truncated=False,
        control_dt=0.1,
        qpos=np.array([[0.25], [0.5], [0.75]]),
        qvel=np.zeros((3, 1)),
    )
    write_log(tmp_path / "log.csv", episode, 2)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = {name: [float(row[name]) for row in rows] for name in rows[0]}
    assert columns["x0"] == [0.5, 1.5, 2.5] and columns["q0"] == [0.25, 0.5, 0.75]
    assert columns["u0"] == pytest.approx([0.1, 0.2, 0.0])
    assert columns["before1_u0"] == pytest.approx([0.0, 0.1, 0.2]) and columns["before2_u0"] == pytest.approx(
        [0, 0, 0.1]
    )
    assert columns["reward"] == [1.0, 2.0, 0.0] and columns["terminated"] == [0, 0, 1]


def test_the_dataset_is_what_the_logs_say(logs, tmp_path):
    dataset = import_logs(logs, TASK, 2, tmp_path / "data", "a test")
    assert dataset.num_steps == 45 and dataset.task.observation_space.size == 14 and dataset.task.env_id is None
    assert dataset.task.action_space == TASK.action_space and dataset.task.max_episode_steps == 10
    for episode in dataset.episodes():
        assert np.array_equal(episode.observations[1:, 10:12], episode.actions)
        assert np.array_equal(episode.observations[2:, 12:], episode.actions[:-1]) and episode.rewards.all()
    assert import_logs(logs, TASK, 2, tmp_path / "data", "a test").digest() == dataset.digest()


def test_the_map_is_one_that_the_importer_reads(logs):
    columns = read_settings(ColumnMap, logs / MAP)
    assert columns == column_map(TASK, 2)
    assert sum(len(log.stamps) - 1 for log in read_logs(sorted(logs.glob("*.csv")), columns)) == 45


def test_encoders_go_to_system_identification(logs):
    motions = read_motions(logs, (4, 4), 2)
    assert sum(len(motion.commands) for motion in motions) == 45
    assert all(motion.states.shape == (len(motion.commands) + 1, 8) for motion in motions)


def test_episodes_that_lie_there_are_not_recorded_again(logs):
    before = {path: path.stat().st_mtime_ns for path in log_files(logs)}
    lost = sorted(before)[1]
    content = lost.read_text()
    lost.rename(lost.with_name(f".partial-1-{lost.name}"))  # as if a process had been killed while it wrote
    told = []
    record_logs(TASK, Alteration(gain=0.7), Recipe(45), 2, logs, told.append)
    assert lost.read_text() == content and told[-1] == 45 and len(told) == 2
    assert all(path.stat().st_mtime_ns == before[path] for path in log_files(logs) if path != lost)
