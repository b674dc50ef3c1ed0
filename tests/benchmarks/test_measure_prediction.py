"""The prediction benchmark as a person asks for it: programs run by their command lines, on a tiny model."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wm_gym.config import load_config
from wm_gym.data.episodes import open_dataset
from wm_gym.errors import WorldModelError
from wm_gym.evaluation.held_out import stack_windows
from wm_gym.evaluation.prediction import Predicted
from wm_gym.evaluation.rival import windows_identity, write_rival

ROOT = Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, *(str(argument) for argument in arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data, two models that have hardly learnt, a held-out recording of longer episodes, and a rival."""
    place = tmp_path_factory.mktemp("prediction")
    small = ["task=reacher", "behaviours={random:1,smooth:1}", "cameras=[]", "workers=1"]
    tiny = ["updates=20", "batch_size=32", "members=2", "width=16", "layers=1", "longest_horizon=2"]
    for command in (
        ["datasets/collect_episodes.py", *small, "num_steps=600", f"output={place}/data"],
        [
            "datasets/collect_episodes.py",
            *[*small, "num_steps=840", "seed=1000", "task.max_episode_steps=70", f"output={place}/held_out"],
        ],
        ["-m", "wm_gym.train", f"dataset={place}/data", f"output={place}/model_0", "seed=0", *tiny],
        ["-m", "wm_gym.train", f"dataset={place}/data", f"output={place}/model_1", "seed=1", *tiny],
    ):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    training, recorded = open_dataset(place / "data"), open_dataset(place / "held_out")
    held_out, _ = stack_windows(list(recorded.episodes()), 40, 200)
    perfect = Predicted(held_out.truth + 1e-3, held_out.future_rewards)
    identity = windows_identity(held_out, recorded, training, 40)
    write_rival(place / "rival", "oracle 1.0", 0, perfect, identity, {"cpu_seconds": 1.0})
    return place


@pytest.fixture
def arguments(place):
    return [
        f"models=[{place}/model_0,{place}/model_1]",
        f"train={place}/data",
        f"dataset={place}/held_out",
        f"rivals=[{place}/rival]",
    ]


def test_it_ends_with_a_table_and_writes_everything_that_the_table_says(place, arguments):
    done = run("benchmarks/measure_prediction.py", *arguments, f"output={place}/prediction")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"benchmark: {place / 'prediction'}"
    for name in ("wm_gym", "nothing changes", "constant velocity", "ridge ARX", "MuJoCo's own floor", "oracle 1.0"):
        assert name in done.stdout
    assert sorted(path.name for path in (place / "prediction").iterdir()) == ["prediction.svg", "result.json"]
    result = json.loads((place / "prediction" / "result.json").read_text())
    assert result["task"] == "reacher" and result["command"].startswith("python benchmarks/measure_prediction.py")
    assert [model["seed"] for model in result["models"]] == [0, 1] and len(result["models"][0]["sha256"]) == 64
    assert result["recordings"]["held_out"]["seed"] == 1000 and result["cut"]["stride"] == 40
    assert result["rivals"][0]["cpu_seconds"] == 1.0
    found = {predictor["id"]: predictor for predictor in result["predictors"]}
    assert [(p["id"], p["kind"], p["seeds"]) for p in result["predictors"][:2]] == [
        ("wm_gym", "model", 2),
        ("oracle", "rival", 1),
    ]
    assert found["oracle"]["curve"]["value"][-1] < 0.05 and found["floor"]["curve"]["value"][0] < 0.05
    assert found["oracle"]["valid_time"]["median"]["censored"] is True
    # 12 episodes of 70 steps give windows of 69 and 29 predicted steps.
    assert result["horizon"] == 69 and (result["windows"][28], result["windows"][29]) == (24, 12)
    assert result["episodes"] == [12] * 69 and result["judged"] == [True] * 69
    assert set(result["rewards"]) == {"wm_gym", "oracle", "floor"} and result["rewards"]["wm_gym"]["100"] is None
    assert result["rewards"]["oracle"]["50"]["bias"]["value"] == pytest.approx(0.0, abs=1e-4)
    assert result["termination"]["events"] == 0
    # The target stays where it is: numbers 4 and 5 are not scored.
    assert result["still"] == [4, 5] and len(result["dimensions"]) == 8
    again = run("benchmarks/measure_prediction.py", *arguments, f"output={place}/again")
    assert again.returncode == 0
    second = json.loads((place / "again" / "result.json").read_text())
    assert all(second[key] == result[key] for key in ("predictors", "skill", "rewards", "termination", "verdict"))


@pytest.fixture(scope="module")
def program():
    """The program as a module, for what need not start a process of its own."""
    spec = importlib.util.spec_from_file_location("measure_prediction", ROOT / "benchmarks" / "measure_prediction.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["measure_prediction"] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["measure_prediction"]


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("dataset={place}/data", ["no held-out recording", "seed=..."]),
        ("train={place}/held_out", ["no held-out recording"]),
        ("models=[{place}/model_0,{place}/model_0]", ["[0, 0]", "repeat"]),
        ("models=[]", ["at least one model"]),
        ("models=[{place}/nowhere]", ["nowhere"]),
        ("stride=0", ["stride=0"]),
        ("stride=20", ["rival", "stride 40 where 20"]),
        ("rivals=[{place}/model_0]", ["model_0", "rival"]),
    ],
)
def test_bad_input_is_named_and_writes_nothing(program, place, arguments, argument, words):
    given = [*arguments, argument.format(place=place), f"output={place}/bad"]
    with pytest.raises(WorldModelError) as refused:
        program.main(load_config(program.Settings, given))
    assert all(word in str(refused.value) for word in words), refused.value
    assert "\n" not in str(refused.value) and not (place / "bad").exists()


def test_a_model_of_another_recording_is_refused(place, arguments, tmp_path):
    small = [
        "task=reacher",
        "behaviours={random:1,smooth:1}",
        "cameras=[]",
        "workers=1",
        "num_steps=300",
        "seed=5",
        f"output={tmp_path}/other",
    ]
    assert run("datasets/collect_episodes.py", *small).returncode == 0
    done = run("benchmarks/measure_prediction.py", *arguments, f"train={tmp_path}/other", f"output={place}/bad")
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
    assert "was not fitted to" in done.stderr
