"""The calibration benchmark as a person asks for it, on a tiny model of Reacher."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, *(str(argument) for argument in arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model that has hardly learnt, calibrated on episodes of its own, and a recording to judge it by."""
    place = tmp_path_factory.mktemp("calibration")
    collect = ["datasets/collect_episodes.py", "task=reacher", "behaviours={random:1}", "cameras=[]", "workers=1"]
    tiny = ["updates=20", "batch_size=32", "members=2", "width=16", "layers=1", "longest_horizon=2"]
    for command in (
        [*collect, "num_steps=600", f"output={place}/data"],
        [*collect, "num_steps=600", "seed=2000", f"output={place}/calibration"],
        [*collect, "num_steps=600", "seed=3000", f"output={place}/test"],
        ["-m", "wm_gym.train", f"dataset={place}/data", f"output={place}/fitted", *tiny],
        [
            *["-m", "wm_gym.calibrate", f"model={place}/fitted", f"dataset={place}/calibration"],
            f"output={place}/model",
        ],
    ):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    return place


def test_it_ends_with_a_table_and_writes_what_the_table_says(place):
    done = run(
        *["benchmarks/measure_calibration.py", f"model={place}/model", f"dataset={place}/test", "changed=true"],
        *["episodes=12", "horizon=20", f"output={place}/found"],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"benchmark: {place / 'found'}"
    assert "does not move this robot" in done.stdout and "coverage of the 90% bound, 12 episodes" in done.stdout
    assert sorted(path.name for path in (place / "found").iterdir()) == ["calibration.svg", "result.json"]
    result = json.loads((place / "found" / "result.json").read_text())
    assert result["task"] == "reacher" and result["model"]["calibration"]["episodes"] == 12
    for mode in ("sampled", "mean"):
        coverage = result["modes"][mode]["coverage"]
        assert 0.5 < coverage["pooled"]["value"] <= 1 and list(coverage["at"]) == ["1", "10"]
    assert result["changed"]["gravity x 1.25"] is None
    assert set(result["changed"]["mass x 1.5"]["10"]) == {"rollouts", "wrong", "expected", "surprised"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (["dataset=data"], "was fitted to it or calibrated on it"),
        (["dataset=calibration"], "was fitted to it or calibrated on it"),
        (["model=hopper"], "the model imagines hopper"),
        (["horizon=0"], "horizon=0: at least 1"),
        (["policies.some=where"], "give changed=true too"),
    ],
)
def test_what_would_be_no_test_is_refused(place, changed, words):
    settings = {"model": "model", "dataset": "test", "output": "refused"}
    settings |= dict(setting.split("=") for setting in changed)
    for name in ("model", "dataset", "output"):
        settings[name] = settings[name] if settings[name] == "hopper" else f"{place}/{settings[name]}"
    done = run("benchmarks/measure_calibration.py", *(f"{name}={value}" for name, value in settings.items()))
    assert done.returncode == 1 and words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not (place / "refused" / "result.json").exists()
