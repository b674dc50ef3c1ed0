"""Agents of several worlds: shares worked by hand, a chart, and what is finished is not done again."""

from pathlib import Path

import numpy as np
import pytest

from wm_gym.evaluation import simulators
from wm_gym.evaluation.simulators import Training, compare_worlds, share_of_gain, share_of_oracle, train_all
from wm_gym.evaluation.simulators_chart import draw_simulators, write_simulators_chart
from wm_gym.files import write_json
from wm_gym.physics.alteration import Alteration
from wm_gym.physics.tasks import task_spec

TASK = task_spec("reacher", cameras=())
RETURNS = {"imagination": -6.0, "nominal": -8.0, "randomised": -7.0, "oracle": -4.0}


def training(folder, world, seed=0):
    return Training(
        world=world,
        seed=seed,
        folder=folder / f"{world}_{seed}",
        task=TASK,
        secret=Alteration(),
        memory=1,
        dataset=folder / "data",
        trained_in=Alteration(),
        algorithm="ppo",
        steps=1,
        num_envs=1,
        episodes=4,
    )


def finish(job, returns):
    described = {"world": job.world, "seed": job.seed, "returns": returns, "own_return": -1.0, "cpu_seconds": 2.0}
    write_json(job.folder / "result.json", described)


@pytest.fixture
def trainings(tmp_path):
    """Two seeds of each world, without spread: every figure can be worked by hand."""
    jobs = [training(tmp_path, world, seed) for world in RETURNS for seed in (0, 1)]
    for job in jobs:
        finish(job, [RETURNS[job.world]] * 4)
    return jobs


def test_shares_and_differences_without_spread_are_exact(trainings):
    rows = {row["world"]: row for row in compare_worlds(trainings)}
    exact = {name: {"value": value, "low": value, "high": value} for name, value in RETURNS.items()}
    assert {name: row["return"] for name, row in rows.items()} == exact
    assert (
        rows["imagination"]["minus_nominal"]["value"] == 2.0 and rows["imagination"]["minus_randomised"]["low"] == 1.0
    )
    assert rows["oracle"]["minus_nominal"]["high"] == 4.0 and rows["nominal"]["minus_nominal"] is None
    # The robot itself wins 4 over nominal MuJoCo; the imagination wins 2 of them, randomisation 1.
    assert rows["imagination"]["share"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert rows["randomised"]["share"]["value"] == 0.25
    assert rows["oracle"]["share"] is None and rows["nominal"]["share"] is None
    assert rows["imagination"]["seeds"] == 2 and rows["imagination"]["seed_returns"] == [-6.0, -6.0]


def test_a_share_has_an_interval_and_none_exists_where_nothing_was_to_be_gained():
    generator = np.random.default_rng(0)
    wide = share_of_gain([np.array([1.0, 3.0])] * 2, [np.zeros(2)], [np.full(2, 4.0)], generator)
    assert wide.value == 0.5 and 0.25 <= wide.low < 0.5 < wide.high <= 0.75
    spread = np.array([-10.0, 10.0])
    assert share_of_gain([spread], [spread], [spread + 0.1], generator) is None


def test_a_share_of_the_robots_own_return_resamples_seeds_and_wants_returns_above_nothing():
    found = share_of_oracle([90.0, 110.0], [200.0, 200.0], np.random.default_rng(0))
    assert (found.value, found.low, found.high) == (0.5, 0.45, 0.55)
    assert share_of_oracle([90.0, -1.0], [200.0, 200.0], np.random.default_rng(0)) is None
    assert share_of_oracle([90.0, 90.0], [0.0, 1.0], np.random.default_rng(0)) is None
    assert share_of_oracle([90.0], [200.0, 200.0], np.random.default_rng(0)) is None  # one seed knows no interval


def test_worlds_that_were_left_out_leave_cells_empty(trainings):
    rows = compare_worlds([job for job in trainings if job.world in ("imagination", "nominal")])
    assert [row["minus_randomised"] for row in rows] == [None, None] and rows[0]["share"] is None
    assert rows[0]["minus_nominal"]["value"] == 2.0


def test_the_chart_has_a_line_for_each_world(trainings, tmp_path):
    rows = compare_worlds(trainings)
    drawn = draw_simulators(rows, "reacher")
    assert all(row["name"] in drawn for row in rows) and "nan" not in drawn.lower()
    assert drawn.count('class="interval"') == 4 and drawn.count('class="seed"') == 8
    write_simulators_chart(tmp_path / "returns.svg", rows, "reacher")
    assert (tmp_path / "returns.svg").read_text() == drawn


def test_what_is_finished_is_not_trained_again(tmp_path, monkeypatch):
    jobs = [training(tmp_path, "nominal", seed) for seed in range(3)]
    finish(jobs[1], [0.0] * 4)
    trained, told = [], []

    def fake(job: Training) -> Path:
        trained.append(job.seed)
        return job.folder

    monkeypatch.setattr(simulators, "train_and_try", fake)
    train_all(jobs, 1, lambda job: told.append(job.seed))
    assert trained == [0, 2] and told == [1, 0, 2]
