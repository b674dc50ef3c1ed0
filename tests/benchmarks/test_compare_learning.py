"""``python benchmarks/compare_learning.py`` as a person runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "compare_learning.py"


def run(*arguments):
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def folders(tmp_path):
    machine = {"processor": "a CPU", "cores": 2}
    shared = {"task": "arm", "wall_seconds": 60.0, "machine": machine, "settings": {}, "algorithm": "rounds"}
    curve = [{"steps": 50, "physical": [1.0], "imagined": 3.0}, {"steps": 100, "physical": [5.0], "imagined": 5.5}]
    for seed in (0, 1):
        (tmp_path / f"inside_{seed}").mkdir()
        mine = {"seed": seed, "real_steps": 100, "physical_returns": [4.0, 6.0], "curve": curve, "command": "a.py"}
        (tmp_path / f"inside_{seed}" / "result.json").write_text(json.dumps(shared | mine))
    (tmp_path / "control").mkdir()
    trial = {"algorithm": "sac", "world": "physics", "trial": {"sac": {"physical_returns": [3.0, 5.0]}}}
    theirs = {"seed": 0, "real_steps": 300, "curve": [{"steps": 300, "physical": [4.0]}], "command": "b.py"}
    (tmp_path / "control" / "result.json").write_text(json.dumps(shared | theirs | trial))
    return tmp_path


def test_both_sides_are_compared_and_drawn(folders):
    inside = f"inside=[{folders}/inside_0,{folders}/inside_1]"
    done = run(inside, f"control=[{folders}/control]", f"output={folders}/learning_arm.json")
    assert done.returncode == 0, done.stderr
    assert "100 real steps, 2 seeds: 5.00" in done.stdout and "imagined too much   0.500" in done.stdout
    found = json.loads((folders / "learning_arm.json").read_text())
    assert found["commands"] == ["a.py (likewise seed 1)", "b.py"] and found["machine"] == "a CPU, 2 cores"
    assert (folders / "learning_arm.svg").read_text().startswith("<svg")


def test_a_control_is_taken_over_from_an_earlier_comparison(folders):
    first = run(f"inside=[{folders}/inside_0]", f"control=[{folders}/control]", f"output={folders}/learning_arm.json")
    assert first.returncode == 0, first.stderr
    again = run(
        f"inside=[{folders}/inside_1]", f"control=[{folders}/learning_arm.json]", f"output={folders}/learning_x.json"
    )
    assert again.returncode == 0, again.stderr
    one, other = (json.loads((folders / f"learning_{name}.json").read_text()) for name in ("arm", "x"))
    assert other["control"] == one["control"] and other["commands"] == ["a.py", "b.py"]
    assert other["machine"] == one["machine"] and other["minus_control"]["value"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["inside=[]", "control=[x]"], "inside=[]"),
        (["inside=[{0}/nobody]", "control=[{0}/control]"], "nobody"),
        (["inside=[{0}/inside_0]", "control=[{0}/control]", "output=a.txt"], "a.txt"),
        (["inside=[{0}/inside_0]", "control=[{0}/inside_1]"], "not SAC"),
        (["inside=[{0}/inside_0]", "control=[{0}/control/result.json]"], "holds no comparison"),
        (["inside=[{0}/inside_0]", "control=[a.json,b.json]"], "one earlier output alone"),
    ],
)
def test_bad_input_is_one_line(folders, arguments, named):
    done = run(f"output={folders}/x.json", *(argument.format(folders) for argument in arguments))
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1 and named in done.stderr
