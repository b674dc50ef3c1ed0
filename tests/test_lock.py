import os
import signal
import subprocess
import sys
import time

import pytest

from wm_gym.errors import ConfigError
from wm_gym.lock import only_writer

HOLD = """
import sys, time
from pathlib import Path
from wm_gym.lock import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_refused_and_the_next_is_not(tmp_path):
    output = tmp_path / "model"
    with (
        only_writer(output),
        pytest.raises(ConfigError, match="model is being written by another"),
        only_writer(output),
    ):
        pass
    with only_writer(output), only_writer(tmp_path / "other"):
        assert (tmp_path / ".model.lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_holds_nothing(tmp_path):
    output = tmp_path / "model"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(output)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="another process"), only_writer(output):
            pass
        holder.send_signal(signal.SIGKILL)
    with only_writer(output):
        pass
    assert list(tmp_path.iterdir()) == []


def test_of_many_at_once_one_writes_at_a_time(tmp_path):
    """Each of 8 processes takes the output 20 times, and looks whether another one is in."""
    children = []
    for _ in range(8):
        child = os.fork()
        if not child:
            os._exit(_take_turns(tmp_path))
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 8
    assert list(tmp_path.iterdir()) == []


def _take_turns(folder):
    turns = 0
    deadline = time.monotonic() + 60
    while turns < 20 and time.monotonic() < deadline:
        try:
            with only_writer(folder / "model"):
                (folder / "in").touch(exist_ok=False)
                time.sleep(0.0005)
                (folder / "in").unlink()
                turns += 1
        except ConfigError:
            time.sleep(0.0005)
        except OSError:
            return 1
    return 0 if turns == 20 else 2
