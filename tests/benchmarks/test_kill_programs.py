"""``python benchmarks/kill_programs.py`` as a person runs it, with few kills."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "kill_programs.py"


def run(*arguments, timeout=600):
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def test_what_is_saved_survives_three_kills(tmp_path):
    done = run("kills=3", "programs=[save]", f"output={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"result: {tmp_path}"
    tally = json.loads((tmp_path / "result.json").read_text())["programs"]["save"]
    assert tally["kills"] == 3 and tally["faults"] == []


@pytest.mark.slow
@pytest.mark.parametrize("program", ["collect", "train", "agent"])
def test_a_program_that_is_killed_three_times_comes_to_the_same_result(tmp_path, program):
    done = run("kills=3", f"programs=[{program}]", f"output={tmp_path}")
    assert done.returncode == 0, done.stderr
    tally = json.loads((tmp_path / "result.json").read_text())["programs"][program]
    assert tally["kills"] + tally["finished"] == 3 and tally["faults"] == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["kills=0"], "kills=0"), (["programs=[cook]"], "programs=[cook]"), (["killz=3"], "killz")],
)
def test_bad_input_is_one_line_that_names_it(tmp_path, arguments, named):
    done = run(*arguments, f"output={tmp_path / 'kills'}")
    assert done.returncode == 1 and named in done.stderr and len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
