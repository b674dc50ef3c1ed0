"""The column map and what is read with it; the program that imports logs has the faults of their rows."""

import numpy as np
import pytest

from wm_gym.config import read_settings
from wm_gym.data.logs import ColumnMap, Log, observation_map_of, read_logs, resampled, shifted, task_of
from wm_gym.errors import ConfigError, DataError

MAP = """
control_dt: 0.1
state: {q: deg}
action: {u: "1"}
limits: {u: [-1, 1]}
"""


@pytest.fixture
def read(tmp_path):
    def reader(text=MAP, rows=("q,u", "0,0.5", "90,-0.5", "180,0")):
        (tmp_path / "map.yaml").write_text(text)
        (tmp_path / "log.csv").write_text("\n".join(rows) + "\n")
        columns = read_settings(ColumnMap, tmp_path / "map.yaml")
        logs = read_logs([tmp_path / "log.csv"], columns)
        return logs, task_of(logs, columns, 0.1, observation_map_of(logs, columns))

    return reader


def test_units_become_si_and_a_last_row_is_where_the_robot_came_to(read):
    (log,), task = read()
    np.testing.assert_allclose(log.states[:, 0], [0, np.pi / 2, np.pi])
    episode = log.episode(0.1)
    assert episode.actions[:, 0].tolist() == [0.5, -0.5] and episode.truncated and not episode.terminated
    assert task.action_space.low == (-1.0,) and task.max_episode_steps == 2 and task.env_id is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("q: deg", "q: degree"), "column 'q': unknown unit 'degree'; did you mean 'deg'?"),
        (("control_dt", "rate"), "unknown key 'rate'"),
        (("control_dt: 0.1", ""), "the map needs time: COLUMN, or control_dt"),
        (("u: [-1, 1]", "u: [1, -1]"), r"limits: u: \[1, -1\] must be \[lowest, highest\]"),
        (("u: [-1, 1]", "v: [-1, 1]"), "'v' under limits or unbounded is no action"),
        (('action: {u: "1"}', ""), "the map needs state: and action:"),
        (("state: {q: deg}", "state: [q"), "not a YAML mapping"),
    ],
)
def test_a_bad_map_is_one_line(read, change, words):
    with pytest.raises(ConfigError, match=words):
        read(MAP.replace(*change))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (("q,u", "0,0.5", "x,0"), "line 3: 'q' is 'x', not a number"),
        (("q,u", "0,0.5"), "1 rows; an episode has at least two"),
        (("q,u", "0,0.5", "0"), "not a CSV table with one head line"),
        (("q,u", "0,0.5", "0,1.5"), "reaches 1.5 1, beyond its limits"),
    ],
)
def test_a_bad_table_is_one_line(read, rows, words):
    with pytest.raises(DataError, match=words):
        read(rows=rows)


def test_an_angle_that_turns_on_is_unwound(read):
    (log,), task = read(MAP + "unbounded: [q]\n", ("q,u", "170,0", "-170,1", "-150,0"))
    np.testing.assert_allclose(np.rad2deg(log.states[:, 0]), [170, 190, 210])
    assert task.observation_map.angles == (0,)


def test_actions_move_by_a_row_either_way():
    rows = np.arange(4.0)
    log = Log("here", np.arange(4), rows, rows[:, None], 10 + rows[:, None], rows, terminated=True)
    late, early = shifted(log, 1), shifted(log, -1)
    assert (late.states[:, 0].tolist(), late.actions[:, 0].tolist()) == ([0, 1, 2], [11, 12, 13])
    assert (early.states[:, 0].tolist(), early.actions[:, 0].tolist()) == ([1, 2, 3], [10, 11, 12])
    assert late.terminated and early.terminated and shifted(log, 0) is log


def test_sine_and_cosine_are_recognised_by_their_numbers_alone(read):
    text = 'control_dt: 0.1\nstate: {height: m, c: "1", s: "1"}\naction: {u: "1"}\n'
    angles = np.linspace(0, 3, 9)
    rows = [f"0,{np.cos(angle):.6f},{np.sin(angle):.6f},{number % 2}" for number, angle in enumerate(angles)]
    _, task = read(text, ("height,c,s,u", *rows))
    assert task.observation_map.sin_cos == ((1, 2),) and task.observation_map.quaternions == ()


def test_resampled_sines_and_cosines_are_back_on_the_circle(read):
    text = 'control_dt: 0.1\ntime: t\nstate: {s: "1", c: "1"}\naction: {u: "1"}\n'
    rows = [f"{0.15 * k},{np.sin(0.3 * k):.6f},{np.cos(0.3 * k):.6f},{k % 2}" for k in range(9)]
    logs, task = read(text, ("t,s,c,u", *rows))
    assert task.observation_map.sin_cos == ((0, 1),)
    (log,) = resampled(logs, 0.1, task.observation_map)
    np.testing.assert_allclose((log.states**2).sum(axis=1), 1.0, atol=1e-9)
    np.testing.assert_allclose(log.states[1], [np.sin(0.2), np.cos(0.2)], atol=1e-3)
