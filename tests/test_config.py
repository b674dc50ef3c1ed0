import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from wm_gym.config import REQUIRED, load_config
from wm_gym.errors import ConfigError


@dataclass
class Robot:
    name: str = "none"
    legs: int = 0
    extras: dict[str, Any] = field(default_factory=dict)


@dataclass
class Settings:
    output: str = REQUIRED
    robot: Robot = field(default_factory=Robot)
    rate: float = 0.5
    shares: dict[str, float] = field(default_factory=dict)


@dataclass
class Flat:
    steps: int = 3
    fast: bool = False


@pytest.fixture
def conf(tmp_path):
    (tmp_path / "robot").mkdir()
    (tmp_path / "robot" / "dog.yaml").write_text("name: dog\nlegs: 4\nextras: {tail: 1}\n")
    (tmp_path / "robot" / "man.yaml").write_text("name: man\nlegs: 2\n")
    (tmp_path / "robot" / "broken.yaml").write_text("wheels: 4\n")
    return tmp_path


def test_defaults_choices_and_overrides_become_the_dataclass(conf):
    loaded = load_config(Settings, ["robot=dog", "output=here", "robot.legs=3", "rate=1"], conf)
    assert loaded == Settings("here", Robot("dog", 3, {"tail": 1}), 1.0, {})
    assert load_config(Settings, ["output=here", "robot=man"], conf).robot == Robot("man", 2)
    assert load_config(Flat, []) == Flat()
    assert load_config(Flat, ["steps=7", "fast=true"]) == Flat(7, True)


def test_a_free_mapping_takes_new_keys(conf):
    arguments = ["robot=dog", "output=x", "robot.extras.ears=2", "shares={a:1,b:0.5}", "shares.c=2"]
    loaded = load_config(Settings, arguments, conf)
    assert loaded.robot.extras == {"tail": 1, "ears": 2}
    assert loaded.shares == {"a": 1.0, "b": 0.5, "c": 2.0}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["output=x"], ["robot=... must be given", "broken, dog, man"]),
        (["robot=dog"], ["output=... must be given"]),
        (["robot=cat", "output=x"], ["robot=cat does not exist", "broken, dog, man"]),
        (["robot=dog", "output=x", "colour=red"], ["unknown setting 'colour'", "output, robot, rate, shares"]),
        (["robot=dog", "output=x", "robot.arms=1"], ["unknown setting 'robot.arms'", "name, legs, extras"]),
        (["robot=dog", "output=x", "robot.legs=many"], ["'robot.legs'", "'many'", "Integer"]),
        (["robot=dog", "output=x", "rate=[1]"], ["rate"]),
        (["robot=dog", "output=x", "shares={a:much}"], ["'shares.a'", "Float"]),
        (["robot=dog", "output=x", "fast"], ["'fast' is not NAME=VALUE"]),
        (["robot=dog", "output=x", "rate=["], ["'rate=[' cannot be read"]),
        (["robot=broken", "output=x"], ["wheels"]),
    ],
)
def test_a_mistake_is_one_line_that_names_it_and_what_exists(conf, overrides, words):
    with pytest.raises(ConfigError) as caught:
        load_config(Settings, overrides, conf)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


PROGRAM = '''
import os, signal, sys, time
from dataclasses import dataclass, field
from wm_gym.config import REQUIRED, run_program
from wm_gym.errors import DataError

@dataclass
class Config:
    what: str = field(default=REQUIRED, metadata={"help": "to do"})
    steps: int = 3

def main(config: Config) -> None:
    """Does little."""
    if config.what == "fail":
        raise DataError("the file is missing; record it first")
    if config.what == "stop":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    if config.what == "write":
        raise OSError(28, "No space left on device", "somewhere")
    if config.what == "crash":
        raise OSError(5, "Input/output error", "somewhere")
    print("done", config.steps)

run_program(main, Config)
'''


@pytest.mark.parametrize(
    ("arguments", "status", "out", "err"),
    [
        (["what=work", "steps=4"], 0, "done 4\n", ""),
        (["what=fail"], 1, "", "error: the file is missing; record it first\n"),
        (["steps=x", "what=work"], 1, "", "error: setting 'steps': "),
        ([], 1, "", "error: what=... must be given (settings: what, steps)\n"),
        (["what=stop"], 130, "", "interrupted: "),
        (["what=write"], 1, "", "error: somewhere: the disk is full: make room; the same command goes on then\n"),
        (
            ["--help"],
            0,
            "Does little.\n\nSettings (NAME=VALUE):\n  what  (must be given)  to do\n  steps  (default 3)\n",
            "",
        ),
    ],
)
def test_a_program_ends_with_a_status_and_one_line(tmp_path, arguments, status, out, err):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py", *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (status, out)
    assert done.stderr.startswith(err) and done.stderr.count("\n") == (1 if err else 0)


def test_an_error_that_nobody_foresaw_keeps_its_traceback(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py", "what=crash"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stderr.startswith("Traceback") and "Input/output error" in done.stderr


WRITER = """
import time
from dataclasses import dataclass
from wm_gym.config import REQUIRED, run_program

@dataclass
class Config:
    output: str = REQUIRED
    seconds: float = 0.0

def main(config: Config) -> None:
    print("begun", flush=True)
    time.sleep(config.seconds)

run_program(main, Config)
"""


def test_two_programs_do_not_write_to_one_output(tmp_path):
    (tmp_path / "program.py").write_text(WRITER)
    command = [sys.executable, tmp_path / "program.py", f"output={tmp_path / 'model'}"]
    with subprocess.Popen([*command, "seconds=60"], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "begun\n"
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        first.terminate()
    assert first.returncode == 130
    assert second.returncode == 1 and "is being written by another process" in second.stderr
    assert second.stderr.count("\n") == 1
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]
