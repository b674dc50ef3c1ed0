"""The README's tables follow from the committed results, to the letter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "update_readme.py"
EMPTY = "before\n<!-- results:transfer -->\n<!-- /results -->\nafter\n"


def row(seed, returns, imagined=None):
    mean = sum(returns) / len(returns)
    return {
        "method": "PPO in imagination",
        "seed": seed,
        "real_steps": 20000,
        "physical_return": mean,
        "physical_low": mean - 1,
        "physical_high": mean + 1,
        "imagined_return": imagined,
        "wall_seconds": 300.0,
        "episode_returns": returns,
    }


@pytest.fixture
def place(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "README.md").write_text(EMPTY)
    content = {
        "command": "make it",
        "machine": "2 cores",
        "rows": [row(0, [-4.0, -4.0], -3.5), row(1, [-6.0] * 2, -4.5)],
    }
    (tmp_path / "results" / "transfer.json").write_text(json.dumps(content))
    return tmp_path


def run(place, *arguments):
    command = [sys.executable, PROGRAM, "--readme", place / "README.md", "--results", place / "results", *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120)


def test_rows_and_their_mean_are_written_and_then_current(place):
    assert run(place, "--check").returncode == 1
    assert (place / "README.md").read_text() == EMPTY
    assert run(place).returncode == 0
    text = (place / "README.md").read_text()
    assert "| PPO in imagination | 0 | 20,000 | -4.00 [-5.00, -3.00] | -3.50 | 5.0 min |" in text
    # Two seeds without spread inside: the bootstrap draws both, or one of them twice.
    assert "| **PPO in imagination** | **mean of 2** | **20,000** | **-5.00 [-6.00, -4.00]** | **-4.00** |  |" in text
    assert "`make it` on 2 cores." in text
    assert text.startswith("before\n") and text.endswith("<!-- /results -->\nafter\n")
    assert run(place, "--check").returncode == 0


def test_what_filtering_costs_is_said_under_the_table(place):
    path = place / "results" / "transfer.json"
    content = json.loads(path.read_text())
    content["rows"][0]["filtering_costs"] = {"value": 0.0384, "low": 0.015, "high": 0.064}
    path.write_text(json.dumps(content))
    assert run(place).returncode == 0
    said = "Filtering drawn frames instead of imagining on costs 3.8% [1.5%, 6.4%] of the imagined return."
    assert said in (place / "README.md").read_text().splitlines()


def test_a_result_that_does_not_exist_is_named(place):
    (place / "README.md").write_text(EMPTY.replace("transfer", "nothing"))
    found = run(place)
    assert found.returncode == 1
    assert "nothing.json" in found.stderr and "there are: transfer" in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1


def prediction(task, rival):
    interval = {"value": 0.1234, "low": 0.1, "high": 0.2}
    naive = {name: {"value": 0.9 + 0.01 * index} for index, name in enumerate(("arx", "persistence", "velocity"))}
    kinds = ("model", "baseline", "floor", "rival") if rival else ("model", "baseline", "floor")
    time = {"mean": {"value": 60.4, "low": 50.2, "high": 70.0}}
    return {
        "task": task,
        "command": f"measure {task}",
        "machine": {"processor": "a processor", "cores": 2},
        "table": [{"horizon": horizon, "errors": {"wm_gym": interval, **naive}} for horizon in (1, 10, 50)],
        "predictors": [{"id": kind, "kind": kind, "seeds": 3, "valid_time": time} for kind in kinds],
        "valid_time_ratios": {kind: {"value": 2.5, "low": 2, "high": 3} for kind in kinds[2:]},
    }


def test_the_zoo_has_a_row_for_every_robot(place):
    (place / "README.md").write_text(EMPTY.replace("transfer", "zoo"))
    assert run(place).returncode == 1
    for task, rival in (("walker", True), ("ant", False)):
        (place / "results" / f"prediction_{task}.json").write_text(json.dumps(prediction(task, rival)))
    assert run(place).returncode == 0
    rows = [line for line in (place / "README.md").read_text().splitlines() if line.startswith("| ")][1:]
    common, ratio = "| 3 | 0.123 | 0.123 | 0.123 |  | 0.90 | 60 [50, 70] | 60", "2.50 [2.00, 3.00]"
    assert rows == [
        f"| ant {common} | {ratio} | not yet measured |  |",
        f"| walker {common} | {ratio} | 60 | {ratio} |",
    ]


def test_a_damaged_prediction_is_named(place):
    (place / "README.md").write_text(EMPTY.replace("transfer", "zoo"))
    (place / "results" / "prediction_ant.json").write_text("{}")
    found = run(place)
    assert found.returncode == 1 and "prediction_ant.json" in found.stderr


def calibration(task):
    figure, none = {"value": 0.9, "low": 0.88, "high": 0.92}, {"expected": None, "surprised": None}
    told = {"expected": {"value": 0.7, "low": 0.6, "high": 0.8}, "surprised": figure}
    return {
        "task": task,
        "command": f"measure {task}",
        "machine": {"processor": "a processor", "cores": 2},
        "model": {"calibration": {"episodes": 400}},
        "recording": {"episodes": 1360},
        "modes": {"sampled": {"coverage": {"pooled": figure, "at": {"1": figure}}, "auroc": {"10": none, "50": told}}},
        "changed": {"mass": {"10": told, "50": told, "100": told}, "gravity": None, "friction": {"10": none}},
    }


def test_doubts_have_a_row_for_every_robot_in_both_tables(place):
    (place / "results" / "calibration_hopper.json").write_text(json.dumps(calibration("hopper")))
    for name, row in (
        ("calibration", "| hopper | 400 / 1,360 | 0.90 [0.88, 0.92] | 0.90 |  | 0.70 [0.60, 0.80] |"),
        ("changes", "| hopper | 0.70 -> 0.90 (at 50) | does not move it | too few |"),
    ):
        (place / "README.md").write_text(EMPTY.replace("transfer", name))
        assert run(place).returncode == 0
        text = (place / "README.md").read_text()
        assert row in text.splitlines() and "`measure hopper`, and so on, on a processor, 2 cores." in text


def test_a_damaged_calibration_is_named(place):
    (place / "README.md").write_text(EMPTY.replace("transfer", "calibration"))
    assert "holds no calibration_*.json" in run(place).stderr
    (place / "results" / "calibration_hopper.json").write_text("{}")
    found = run(place)
    assert found.returncode == 1 and "calibration_hopper.json" in found.stderr


def comparison(robot, identified):
    figure = {"value": -8.0, "low": -9.0, "high": -7.0}
    share = {"value": 0.5, "low": 0.25, "high": 0.75}
    none = {"minus_nominal": None, "minus_randomised": None, "share": None}
    rows = [
        {"name": "imagination", "seeds": 5, "return": figure, "minus_nominal": figure, "share": share},
        {"name": "nominal MuJoCo", "seeds": 5, "return": {name: 900.4 for name in figure}, "seed_returns": [900.4] * 5},
        {"name": "the robot itself", "seeds": 5, "return": figure, "world": "oracle", "seed_returns": [1000.0] * 5},
    ]
    return {
        "task": robot,
        "command": f"compare {robot}",
        "machine": {"processor": "a processor", "cores": 2},
        "secret": {"gain": 0.7, "dead_zone": 0.2, "delay": 0.02, "delay_steps": 2},
        "logs": {"minutes": 10.0},
        "identified": identified,
        "table": [{"world": "another", "seed_returns": [-8.0] * 5} | none | row for row in rows],
    }


def test_simulators_have_a_row_for_every_robot_and_world(place):
    (place / "README.md").write_text(EMPTY.replace("transfer", "simulators"))
    assert run(place).returncode == 0 and "Not yet measured." in (place / "README.md").read_text()
    found = {"alteration": {"gain": 0.5123, "delay": 0.02}, "sought": ["gain"]}
    for robot, identified in (("arm", found), ("leg", {"impossible": "not installed"})):
        (place / "results" / f"simulators_{robot}.json").write_text(json.dumps(comparison(robot, identified)))
    assert run(place).returncode == 0
    text = (place / "README.md").read_text()
    wide = "-8.00 [-9.00, -7.00]"
    assert f"| arm | imagination | 5 | {wide} |  | {wide} |  | 0.50 [0.25, 0.75] |" in text
    assert "| leg | nominal MuJoCo | 5 | 900 [900, 900] | 0.90 [0.90, 0.90] |  |  |  |" in text
    assert (
        "arm: 10 minutes of logs; its secrets: gain 0.7, dead zone 0.2, delay 0.02. `mujoco.sysid` found gain 0.512"
        in text
    )
    assert "`mujoco.sysid` could not be used: not installed. `compare leg` on a processor, 2 cores." in text


def test_a_damaged_comparison_is_named(place):
    (place / "README.md").write_text(EMPTY.replace("transfer", "simulators"))
    (place / "results" / "simulators_arm.json").write_text("{}")
    found = run(place)
    assert found.returncode == 1 and "simulators_arm.json" in found.stderr


def throughput(task, quick=False):
    return {
        "task": task,
        "quick": quick,
        "threads": 2,
        "command": f"measure {task}",
        "machine": {"processor": "a processor", "cores": 2},
        "compared": [
            {"name": "gym.make_vec", "rows": 1024, "median": 100000.4, "low": 90000.0, "high": 110000.0},
        ],
        "batches": [{"name": "gym.make_vec, omit", "rows": rows, "median": 250.4 * rows} for rows in (1000, 1024)],
        "latency": {"p50_ms": 0.3, "p99_ms": 1.25},
        "fraction": 0.61,
        "camera": "NOT MEASURED",
        "learning": [{"world": "imagination", "rate": 20000.0}, {"world": "MuJoCo, SubprocVecEnv", "rate": 1500.0}],
        "ratios": {
            "mujoco.rollout": 7.654,
            "mujoco.rollout, uncertainty omitted": 19.642,
            "one environment, MuJoCo make_vec sync": 0.5,
        },
    }


def test_a_race_says_who_was_first_or_that_one_never_came(place):
    (place / "README.md").write_text(EMPTY.replace("transfer", "race"))
    assert run(place).returncode == 0 and "Not yet measured" in (place / "README.md").read_text()
    seconds = {"recording": 10.0, "fitting": 200.4, "learning": 90.0}
    one = {"seed": 0, "seconds": seconds, "return": -4.321, "interval": [-5.0, -4.0], "physics_seconds": 400.0}
    content = throughput("reacher") | {"races": [one, one | {"seed": 1, "physics_seconds": None}]}
    (place / "results" / "race_reacher.json").write_text(json.dumps(content))
    assert run(place).returncode == 0
    text = (place / "README.md").read_text()
    for seed, other in ((0, "400 s"), (1, "not reached")):
        assert f"| reacher | {seed} | -4.32 [-5, -4] | 10 s | 200 s | 90 s | 300 s | {other} |" in text
    (place / "results" / "race_reacher.json").write_text(json.dumps(content | {"races": [{}]}))
    found = run(place)
    assert found.returncode == 1 and "does not hold a race" in found.stderr


def test_few_real_steps_stand_beside_sacs_many(place):
    (place / "README.md").write_text(EMPTY.replace("transfer", "learning"))
    found = run(place)
    assert found.returncode == 1 and "holds no learning_*.json" in found.stderr
    figure = {"value": -4.9812, "low": -5.5, "high": -4.5}
    side = {"real_steps": 5000, "return": figure, "seeds": [{}, {}], "wall_seconds": 240.0}
    content = {
        "task": "arm",
        "inside": side,
        "control": side | {"real_steps": 15000, "return": figure | {"value": -6.0}},
        "minus_control": {"value": 1.02, "low": 0.5, "high": 1.5},
        "excess": [{"steps": 2500, "value": 2.3456}, {"steps": 5000, "value": -1.2, "low": -1.5, "high": 0.0}],
        "commands": ["python a.py", "python b.py"],
        "machine": "a CPU",
    }
    (place / "results" / "learning_arm.json").write_text(json.dumps(content))
    assert run(place).returncode == 0
    text = (place / "README.md").read_text()
    row = "| arm | a | 5,000 | 2 | -4.98 [-5.50, -4.50] | 4.0 min | 15,000 | 2 | -6.00 [-5.50, -4.50] | 4.0 min "
    assert f"{row}| 1.02 [0.500, 1.50] | 2.35 -> -1.20 [-1.50, 0] |" in text
    assert "arm: `python a.py`, against `python b.py` on a CPU." in text


def test_every_report_has_its_verdicts_and_the_limits_beside_its_figures(place):
    (place / "README.md").write_text(EMPTY.replace("transfer", "verdicts"))
    found = run(place)
    assert found.returncode == 1 and "holds no report_*.json" in found.stderr
    figure = {"value": 0.9512, "low": 0.9, "high": 0.98, "at_least": 0.8, "at_most": None}
    uses = {"rank_policies": "FAIL", "train_policy": "NOT TESTED", "plan": "PASS", "augment_data": "INCONCLUSIVE"}
    content = {
        "task": "arm",
        "panel": 29,
        "verdicts": {use: {"verdict": verdict} for use, verdict in uses.items()},
        "gates": {
            "spearman": figure,
            "pearson": figure | {"value": None},
            "regret": figure | {"value": 0.0, "low": 0.0, "high": 0.05, "at_least": None, "at_most": 0.1},
            "mmrv": figure | {"value": 0.02, "low": 0.01, "high": 0.03, "at_least": None, "at_most": 0.000044},
        },
        "wall_seconds": 480.0,
        "command": "compare",
        "machine": {"processor": "a processor", "cores": 2},
    }
    (place / "results" / "report_arm.json").write_text(json.dumps(content))
    assert run(place).returncode == 0
    said = "| arm | 29 | FAIL | NOT TESTED | PASS | INCONCLUSIVE | 0.951 [0.9, 0.98] (>= 0.8) | none (>= 0.8) "
    said += "| 0 [0, 0.05] (<= 0.1) | 0.02 [0.01, 0.03] (<= 4.4e-05) | not tested | 8.0 min |"
    assert said in (place / "README.md").read_text()
    (place / "results" / "report_arm.json").write_text("{}")
    found = run(place)
    assert found.returncode == 1 and "does not hold a report's summary" in found.stderr


def test_a_camera_model_stands_beside_the_last_frame_and_the_read_outs_own_error(place):
    (place / "README.md").write_text(EMPTY.replace("transfer", "video"))
    found = run(place)
    assert found.returncode == 1 and "holds no video_*.json" in found.stderr

    def films(scale):
        names = ("imagination", "last frame", "true frames", "shuffled actions", "mean frame")
        return {
            name: {"position": {"value": scale * (place + 1), "low": scale, "high": 10.0 * scale}}
            for place, name in enumerate(names)
        }

    content = {
        "task": "arm",
        "place": "fingertip",
        "unit": "mm",
        "by_horizon": {str(horizon): films(horizon / 4) for horizon in (1, 5, 10, 25, 50)},
        "command": "measure",
        "machine": {"processor": "a processor", "cores": 2},
    }
    (place / "results" / "video_arm.json").write_text(json.dumps(content))
    assert run(place).returncode == 0
    lines = (place / "README.md").read_text().splitlines()
    said = "0.5 [0.25, 2.5] mm | 5 [2.5, 25] mm | 12.5 [6.25, 62.5] mm | 25 [12.5, 125] mm |"
    assert f"| arm | fingertip | the last frame shown | {said}" in lines


def test_speed_says_where_mujoco_wins_and_what_was_not_measured(place):
    (place / "README.md").write_text(EMPTY.replace("transfer", "throughput"))
    assert run(place).returncode == 0 and "Not yet measured" in (place / "README.md").read_text()
    (place / "results" / "throughput_hopper.json").write_text(json.dumps(throughput("hopper")))
    assert run(place).returncode == 0
    text = (place / "README.md").read_text()
    row = "| hopper | 0.30, 1.25 ms | 100,000 [90,000, 110,000] | 0.61 | 7.65 | not measured | not measured "
    row += "| 0.5 (MuJoCo wins) | not measured | not measured | 256,410 | 19.6 | not measured | not measured "
    assert f"{row}| 20,000 against 1,500 |" in text.splitlines()
    assert "`measure hopper`, and so on, on a processor, 2 cores, 2 threads." in text
    assert "camera model" not in text
    figures = [{"name": name, "rows": 256, "median": rate} for name, rate in (("latent", 40000.4), ("image", 5000.0))]
    camera = {"robot": "reacher", "cameras": [{"width": 64, "height": 48}], "figures": figures}
    camera["ratios"] = {"latent": 27.44, "image": 3.5}
    (place / "results" / "throughput_reacher.json").write_text(json.dumps(throughput("reacher") | {"camera": camera}))
    assert run(place).returncode == 0
    said = "A camera model of reacher at 256 environments, beside MuJoCo and its 64 x 48 camera at its best: "
    said += "latent 40,000 steps a second, 27.4 times that; image 5,000 steps a second, 3.5 times that."
    assert said in (place / "README.md").read_text()
    (place / "results" / "throughput_hopper.json").write_text(json.dumps(throughput("hopper", quick=True)))
    found = run(place)
    assert found.returncode == 1 and "quick=true" in found.stderr
