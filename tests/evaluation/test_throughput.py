import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from wm_gym.evaluation import throughput, throughput_chart, throughput_physics
from wm_gym.evaluation.throughput import Runner, time_in_turn
from wm_gym.models import load_model
from wm_gym.models.state_ensemble import StateEnsembleConfig
from wm_gym.physics.tasks import task_spec


def test_runners_take_turns_and_close_and_the_first_block_does_not_count():
    told, log = [], []

    def make(name, rows, pause):
        def advance():
            log.append(name)
            time.sleep(pause)

        return lambda: Runner(name, rows, advance, lambda: log.append(f"{name} closed"), steps=2)

    slow, fast = time_in_turn([make("slow", 1, 0.02), make("fast", 100, 0.0)], 3, 0.015, told.append)
    assert (slow["blocks"], slow["rows"], fast["rows"]) == (3, 1, 100)
    assert slow["low"] <= slow["median"] <= slow["high"] <= 2 / 0.02  # two steps in at least 20 ms
    assert fast["median"] > slow["median"]
    assert told == ["slow, 1 rows", "fast, 100 rows"] * 3
    assert log[-2:] == ["slow closed", "fast closed"] and log.count("slow") == 4


def test_all_are_closed_when_one_cannot_be_made():
    closed = []

    def broken():
        raise OSError("no such world")

    with pytest.raises(OSError, match="no such world"):
        time_in_turn([lambda: Runner("a", 1, int, lambda: closed.append("a")), broken], 1, 0.0, print)
    assert closed == ["a"]


def test_operations_are_those_counted_by_hand():
    trained = throughput.resized(load_model("reacher"), StateEnsembleConfig(2, 10, 2, 6, 1))
    # 10 numbers and 2 actions in: 12 x 10, 10 x 10, 10 x 20 and the regression's 12 x 10; the judge's 22 x 6 and 6 x 2.
    dynamics, judge = 2 * (120 + 100 + 200 + 120), 132 + 12
    assert throughput.operations(trained.model) == 2 * (dynamics + judge)
    assert throughput.operations(trained.model, sampled=False) == 2 * (dynamics + 2 * judge)


def test_random_networks_of_another_size_stay_in_the_world():
    trained = throughput.resized(load_model("reacher"), StateEnsembleConfig(3, 12, 2, 8, 1))
    runner = throughput.vector_runner(trained, 5)
    for _ in range(20):
        observation, _, _, _, info = runner.advance()
    assert torch.isfinite(torch.from_numpy(observation)).all() and not info.get("invalid")
    runner.close()


def test_latency_and_growth_of_a_world_that_does_nothing():
    runner = Runner("none", 10, lambda: time.sleep(0.001))
    latency = throughput.measure_latency(runner, 20)
    assert 1 <= latency["p50_ms"] <= latency["p99_ms"] and latency["calls"] == 20
    growth = throughput.measure_growth(replace(runner, advance=int), 10_000)
    assert growth["steps"] == 10_000 and abs(growth["growth_mb"]) < 5 < growth["resident_mb"]


def test_the_age_of_a_rollout_is_reached_before_it_is_timed():
    trained = throughput.resized(load_model("reacher"), StateEnsembleConfig(2, 8, 1, 8, 1))
    found = throughput.measure_age(trained, 3, (1, 9), 2)
    assert [figure["age"] for figure in found] == [1, 9] and all(figure["rate"] > 0 for figure in found)


def test_the_chart_names_every_world_and_holds_every_figure():
    def figure(name, rows, median):
        return {"name": name, "rows": rows, "median": median, "low": median / 2, "high": median * 2}

    values = {
        "batches": [
            figure(n, r, 100.0 * r) for r in (1, 64) for n in ("gym.make_vec", "mujoco.rollout", "EnvPool", "gym.make")
        ],
        "physics": [figure("MuJoCo, make_vec sync", 1, 500.0), figure("MuJoCo, make_vec async", 2, 400.0)],
    }
    drawn = throughput_chart.draw_throughput(values, "hopper")
    for name in (
        "WorldModel-v0, make_vec",
        "mujoco.rollout",
        "EnvPool",
        "MuJoCo, make_vec sync",
        "MuJoCo, make_vec async",
    ):
        assert f">{name}</text>" in drawn
    assert "gym.make_vec, 64 environments: 6400 steps a second" in drawn and "NaN" not in drawn


def test_envpool_is_timed_where_it_is_installed_and_has_the_robot(monkeypatch):
    task, made, stepped = task_spec("reacher", cameras=()), [], []

    def make(env_id, **settings):
        made.append((env_id, settings["num_envs"], settings["num_threads"]))
        space = SimpleNamespace(low=-1.0, high=1.0, shape=(2,))
        return SimpleNamespace(reset=lambda: None, action_space=space, step=stepped.append, close=lambda: None)

    monkeypatch.setitem(sys.modules, "envpool", None)
    assert not throughput_physics.in_envpool(task) and len(throughput_physics.physics_makers(task, 3, 2)) == 2
    fake = SimpleNamespace(list_all_envs=lambda: ["Reacher-v5"], make=make)
    monkeypatch.setitem(sys.modules, "envpool", fake)
    assert not throughput_physics.in_envpool(replace(task, env_id="Hopper-v5"))
    assert not throughput_physics.in_envpool(replace(task, env_kwargs={"reward_dist_weight": 2}))
    runner = throughput_physics.physics_makers(task, 3, 2)[-1]()
    runner.advance()
    assert (runner.name, runner.rows, made) == ("EnvPool", 3, [("Reacher-v5", 3, 2)])
    assert stepped[0].shape == (3, 2) and abs(stepped[0]).max() <= 1
