"""The import of a robot's own logs, as a process with a command line: what it makes of good ones, and of each fault."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from wm_gym.data.episodes import open_dataset

ROOT = Path(__file__).parents[2]
MAP = """
name: toy_arm
control_dt: 0.05
time: stamp
time_unit: ms
state: {q: deg, dq: deg/s}
action: {u: "1"}
reward: reward
terminated: done
limits: {u: [-1, 1]}
"""
ROWS = 40


def run(*arguments):
    command = [sys.executable, "datasets/import_logs.py", *(str(argument) for argument in arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def swing(seed, rows=ROWS):
    """A joint that a torque swings: stamps ms, deg, deg/s, torque, reward, whether it ended."""
    rng, q, v = np.random.default_rng(seed), 0.3, 0.0
    table = []
    for row in range(rows):
        u = rng.uniform(-1, 1)
        table.append([1000.0 + 50 * row, np.rad2deg(q), np.rad2deg(v), u, -q * q, int(row == rows - 1 and seed == 1)])
        v += 0.05 * (8 * u - 2 * q)
        q += 0.05 * v
    return np.array(table)


def write(folder, tables, head="stamp,q,dq,u,reward,done"):
    folder.mkdir(exist_ok=True)
    for number, table in enumerate(tables):
        lines = [",".join("" if np.isnan(cell) else f"{cell:.9g}" for cell in row) for row in table]
        (folder / f"run_{number}.csv").write_text("\n".join([head, *lines]) + "\n")
    (folder / "map.yaml").write_text(MAP)
    return [f"source={folder}/*.csv", f"columns={folder}/map.yaml", f"output={folder}/data"]


@pytest.fixture
def tables():
    return [swing(seed) for seed in range(6)]


def refused(done):
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    return next(line for line in done.stderr.splitlines() if line.startswith("error: "))


def test_good_logs_become_a_dataset_in_si_units(tables, tmp_path):
    settings = write(tmp_path, tables)
    done = run(*settings, "licence=CC0-1.0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"written: {tmp_path}/data"
    dataset = open_dataset(tmp_path / "data")
    assert dataset.task.env_id is None and dataset.task.name == "toy_arm" and dataset.task.control_dt == 0.05
    assert dataset.task.action_space.low == (-1.0,) and dataset.task.max_episode_steps == ROWS - 1
    first, second = dataset.episode(0), dataset.episode(1)
    np.testing.assert_allclose(first.observations, np.deg2rad(tables[0][:, 1:3]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first.actions[:, 0], tables[0][:-1, 3], rtol=1e-6)
    np.testing.assert_allclose(first.rewards, tables[0][:-1, 4], rtol=1e-5)
    assert (first.terminated, first.truncated) == (False, True) and (second.terminated, second.truncated) == (
        True,
        False,
    )
    result = json.loads((tmp_path / "data" / "result.json").read_text())
    assert result["alignment"]["lag"] == 0 and result["alignment"]["shares"]["0"] > 0.5 and result["unrecorded"] == []
    again = run(*settings, "licence=CC0-1.0")
    assert again.returncode == 0 and "already complete" in again.stdout


def test_a_missing_column_is_named_with_the_nearest(tables, tmp_path):
    settings = write(tmp_path, tables, head="stamp,q,dq_,u,reward,done")
    error = refused(run(*settings))
    assert "run_0.csv: no column 'dq'; did you mean 'dq_'? (it has stamp, q, dq_, u, reward, done)" in error
    assert not (tmp_path / "data").exists() and not (tmp_path / "data.staging").exists()


def _spoil(tables, fault):
    spoiled, table = [np.array(t) for t in tables], None
    table = spoiled[2]
    if fault == "nan":
        table[7, 1] = np.nan
    elif fault == "duplicate":
        table[7, 0] = table[6, 0]
    elif fault == "backward":
        table[7, 0] = table[5, 0] - 1
    elif fault == "jitter":
        table[7, 0] += 12
    elif fault == "gap":
        spoiled[2] = np.delete(table, [10, 11], axis=0)
    elif fault == "rate":
        table[:, 0] = 1000 + 2 * (table[:, 0] - 1000)
    elif fault == "radians":
        for t in spoiled:
            t[:, 1] = np.deg2rad(t[:, 1])
    elif fault == "late":
        for t in spoiled:
            t[1:, 3] = t[:-1, 3]
    return spoiled


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("nan", "run_2.csv: line 9: 'q' is empty or not finite; remove the row"),
        ("duplicate", "run_2.csv: line 9: the same time stamp as line 8: remove the row"),
        ("backward", "run_2.csv: line 9: a time stamp before that of line 8: remove the row"),
        ("jitter", "run_2.csv: line 9: 62 ms after the sample before, not 50 ms (jitter) (and in 1 rows more)"),
        ("gap", "run_2.csv: line 12: 2 samples missing before it (a gap of 0.15 s): resample=true mends it"),
        ("rate", "run_2.csv: samples every 0.1 s, not 0.05 s: give control_dt in the map; resample=true mends it"),
        ("radians", "'dq' in deg/s is 56.7 times the speed at which 'q' in deg changes"),
        ("late", "changes are explained best by the action of row t+1"),
    ],
)
def test_a_fault_is_named_before_anything_is_written(tables, tmp_path, fault, words):
    settings = write(tmp_path, _spoil(tables, fault))
    assert words in refused(run(*settings))
    assert not (tmp_path / "data").exists() and not (tmp_path / "data.staging").exists()


def test_an_angle_beyond_two_turns_in_rad_is_one_in_degrees(tables, tmp_path):
    for table in tables:
        table[:, 1] += 180
    settings = write(tmp_path, tables)
    (tmp_path / "map.yaml").write_text(MAP.replace("q: deg, dq: deg/s", "q: rad, dq: rad/s"))
    assert "'q' is 197.2 rad, more than 2 turns: is it in deg?" in refused(run(*settings))


def test_stamps_in_another_unit_are_asked_for(tables, tmp_path):
    settings = write(tmp_path, tables)
    (tmp_path / "map.yaml").write_text(MAP.replace("time_unit: ms", "time_unit: s"))
    assert "samples every 50 s, not 0.05 s: is the unit of the time right" in refused(run(*settings))


def test_resampling_mends_jitter_and_short_gaps_and_keeps_the_reward(tables, tmp_path):
    settings = write(tmp_path, _spoil(_spoil(tables, "jitter"), "gap"))
    done = run(*settings, "resample=true")
    assert done.returncode == 0, done.stderr
    episode = open_dataset(tmp_path / "data").episode(2)
    assert len(episode) == ROWS - 1
    np.testing.assert_allclose(episode.observations[20], np.deg2rad(tables[2][20, 1:3]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(episode.actions[20], tables[2][20, 3], rtol=1e-4)
    np.testing.assert_allclose(episode.rewards[20:].sum(), tables[2][20:-1, 4].sum(), rtol=1e-4)


def test_a_long_gap_is_bridged_by_nothing_and_cut_when_asked(tables, tmp_path):
    tables[2][10:, 0] += 1000
    settings = write(tmp_path, tables)
    assert "20 samples missing before it (a gap of 1.05 s): cut_gaps=true" in refused(run(*settings, "resample=true"))
    done = run(*settings, "resample=true", "cut_gaps=true")
    assert done.returncode == 0, done.stderr
    assert open_dataset(tmp_path / "data").lengths.tolist() == [39, 39, 9, 29, 39, 39, 39]


def test_actions_that_stand_one_row_off_are_moved_when_asked(tables, tmp_path):
    settings = write(tmp_path, _spoil(tables, "late"))
    done = run(*settings, "shift_actions=1")
    assert done.returncode == 0, done.stderr
    episode = open_dataset(tmp_path / "data").episode(0)
    np.testing.assert_allclose(episode.actions[:, 0], tables[0][: len(episode), 3], rtol=1e-6)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("source=nowhere/*.csv", "no CSV file there"),
        ("cut_gaps=true", "only together with resample=true"),
        ("columns=nowhere.yaml", "nowhere.yaml: cannot be read"),
    ],
)
def test_a_bad_setting_is_one_line(tables, tmp_path, setting, words):
    settings = [s for s in write(tmp_path, tables) if s.partition("=")[0] != setting.partition("=")[0]]
    assert words in refused(run(*settings, setting))


def test_a_column_may_tell_episodes_apart_and_reward_may_be_missing(tables, tmp_path):
    joined = np.concatenate([np.column_stack([table, np.full(ROWS, n)]) for n, table in enumerate(tables)])
    settings = write(tmp_path, [joined], head="stamp,q,dq,u,reward,done,run")
    (tmp_path / "map.yaml").write_text(MAP.replace("reward: reward\nterminated: done", "episode: run"))
    done = run(*settings)
    assert done.returncode == 0, done.stderr
    assert "no reward was logged" in done.stdout and "no termination was logged" in done.stdout
    dataset = open_dataset(tmp_path / "data")
    assert len(dataset) == 6 and dataset.manifest["recipe"]["unrecorded"] == ["reward", "termination"]


def test_a_folder_of_lerobots_own_is_imported_without_a_map(foreign_folder, tmp_path):
    done = run(f"source={foreign_folder}", f"output={tmp_path / 'data'}")
    assert done.returncode == 0, done.stderr
    dataset = open_dataset(tmp_path / "data")
    table = pq.read_table(foreign_folder / "data/chunk-000/file-000.parquet").to_pydict()
    np.testing.assert_allclose(dataset.episode(0).observations[3], table["observation.state"][3], rtol=1e-6)
    assert dataset.lengths.tolist() == [29] * 8 and dataset.task.control_dt == 0.05


def test_a_sine_and_its_cosine_are_recognised_and_said(tables, tmp_path):
    turned = [np.column_stack([t[:, 0], np.sin(t[:, 1]), np.cos(t[:, 1]), t[:, 3:]]) for t in tables]
    settings = write(tmp_path, turned, "stamp,sin_q,cos_q,u,reward,done")
    (tmp_path / "map.yaml").write_text(MAP.replace("q: deg, dq: deg/s", 'sin_q: "1", cos_q: "1"'))
    done = run(*settings)
    assert done.returncode == 0, done.stderr
    assert "sin_q and cos_q are sine and cosine of one angle" in done.stdout
    assert open_dataset(tmp_path / "data").task.observation_map.sin_cos == ((0, 1),)
