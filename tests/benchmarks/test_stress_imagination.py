"""The hunt as a person asks for it, on a toy that has learnt nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wm_gym.testing import inputs

ROOT = Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, "benchmarks/stress_imagination.py", *(str(argument) for argument in arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "toy"
    inputs.make_model().save(folder)
    return folder


def test_it_ends_with_a_table_and_says_what_it_counted(model, tmp_path):
    done = run(f"models=[{model}]", "steps=3000", "rows=10", "samples=4", f"output={tmp_path / 'stress'}")
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.strip().splitlines()[-1] == f"stress: {tmp_path / 'stress'}"
    assert all(way in done.stdout for way in ("random", "saturated", "adversarial", "fuzzed"))
    result = json.loads((tmp_path / "stress" / "result.json").read_text())
    rows = result["results"]
    assert len(rows) == 12 and sum(row["steps"] for row in rows) >= 3000
    assert all(row["not_finite"] == row["unbounded"] == 0 and row["faults"] == [] for row in rows)
    assert sum(row["refused"] for row in rows) > 10 and all(row["megabytes_grown"] < 100 for row in rows)


def test_a_setting_out_of_range_is_one_line(model, tmp_path):
    done = run(f"models=[{model}]", "rows=1", f"output={tmp_path / 'stress'}")
    assert done.returncode == 1 and "rows=2" in done.stderr and "Traceback" not in done.stderr
