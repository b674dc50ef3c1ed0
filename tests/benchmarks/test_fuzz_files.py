"""``python benchmarks/fuzz_files.py`` as a person runs it; what it finds is in ``tests/test_mutations.py``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz_files.py"


def run(*arguments):
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def test_a_limit_that_is_broken_is_a_fault_and_its_folder_is_kept(tmp_path):
    done = run("mutations=6", "seconds=0", "workers=2", f"output={tmp_path}")
    assert done.returncode == 1 and "slow" in done.stderr.splitlines()[-1]
    result = json.loads((tmp_path / "result.json").read_text())
    assert [fault["result"] for fault in result["faults"]] == ["slow"] * 6
    assert sorted(path.name for path in (tmp_path / "faults").iterdir()) == [str(number) for number in range(6)]


@pytest.mark.parametrize(
    ("arguments", "named"), [(["mutations=0"], "mutations=0"), (["workers=0"], "workers=0"), (["sead=3"], "sead")]
)
def test_bad_input_is_one_line_that_names_it(tmp_path, arguments, named):
    done = run(*arguments, f"output={tmp_path / 'fuzz'}")
    assert done.returncode == 1 and named in done.stderr and len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
