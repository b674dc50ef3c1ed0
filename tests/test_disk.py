"""A full disk, a folder that may not be written to, two writers at once: one clear line, and the old files intact."""

import ctypes
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from wm_gym.data.episodes import verify_dataset
from wm_gym.errors import WorldModelError
from wm_gym.files import read_json, write_json
from wm_gym.models import load_model
from wm_gym.testing import inputs
from wm_gym.verify import verify_folder

ROOT = Path(__file__).parents[1]


@contextmanager
def full_disk(free):
    """No file may grow beyond ``free`` bytes: what a full disk looks like from inside."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


WRITERS = {
    "model": lambda folder, seed: inputs.make_model(seed).save(folder / "model"),
    "policy": lambda folder, seed: inputs.make_policy(seed).save(folder / "policy"),
    "agent": lambda folder, seed: inputs.write_agent(folder / "agent"),
    "json": lambda folder, seed: write_json(folder / "a.json", {"seed": seed, "more": list(range(500))}),
    "report": lambda folder, seed: inputs.write_report(folder / "report"),
}


@pytest.mark.parametrize("free", [0, 100, 400])
@pytest.mark.parametrize("writer", WRITERS)
def test_on_a_full_disk_the_old_file_stays_and_nothing_is_left_beside_it(tmp_path, writer, free):
    WRITERS[writer](tmp_path, 0)
    before = contents(tmp_path)
    with full_disk(free), pytest.raises(OSError, match="File too large"):
        WRITERS[writer](tmp_path, 1)
    after = contents(tmp_path)
    if writer != "report":  # whose files are written one by one here
        assert after == before
    assert not [path for path in after if ".partial-" in str(path)]


@pytest.mark.parametrize("free", [0, 300, 3000, 12_000])
def test_on_a_full_disk_a_recording_keeps_its_episodes_and_goes_on(tmp_path, free):
    inputs.write_dataset(tmp_path / "data", finish=False)
    staged = contents(tmp_path / "data.staging")
    writer = inputs.open_recording(tmp_path / "data")
    keys = list(writer.staged())
    with full_disk(free), pytest.raises((OSError, WorldModelError)):
        writer.stage("ep-9", inputs.make_episode(9, frames=True)) if free < 3000 else writer.finish(keys)
    assert not (tmp_path / "data").exists()
    left = contents(tmp_path / "data.staging")
    assert {path: content for path, content in left.items() if path.parts[0] != ".joined"} == staged
    writer.finish(keys)
    assert len(verify_dataset(tmp_path / "data")) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def run(arguments, prepare):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, preexec_fn=prepare, cwd=ROOT, capture_output=True, text=True, check=False)


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def drop_privileges():
    """Root may write anywhere: give up the two powers (capabilities 1 and 2) that make it so, until the end."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):
        libc.prctl(24, capability, 0, 0, 0)


def fit(data, output):
    return [
        *("-m", "wm_gym.train", f"dataset={data}", f"output={output}"),
        *("updates=20", "batch_size=16", "longest_horizon=1", "width=8", "layers=1", "members=2", "threads=1"),
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / "data"
    inputs.write_dataset(folder, episodes=8)
    return folder


def test_a_program_on_a_full_disk_says_so_in_one_line_and_goes_on_later(tmp_path, data):
    done = run(fit(data, tmp_path / "model"), limit_files)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert len(errors) == 1 and "raise the limit (ulimit -f); the same command goes on then" in errors[0]
    assert {path.name for path in tmp_path.iterdir()} == {"model.partial"}
    assert not [path for path in (tmp_path / "model.partial").iterdir() if path.name.startswith(".")]
    assert run(fit(data, tmp_path / "model"), None).returncode == 0
    assert [fault for check in verify_folder(tmp_path / "model") for fault in check.faults] == []


def test_a_folder_that_may_not_be_written_to_is_named_before_any_work(tmp_path, data):
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    shelf.chmod(0o555)
    try:
        done = run(fit(data, shelf / "model"), drop_privileges)
    finally:
        shelf.chmod(0o755)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"error: {shelf / '.model.lock'}: permission denied: choose another output")
    assert list(shelf.iterdir()) == []


def test_a_model_that_lies_in_a_read_only_folder_is_read(tmp_path):
    inputs.make_model().save(tmp_path / "model")
    (tmp_path / "model").chmod(0o555)
    code = f"from wm_gym import load_model; print(load_model({str(tmp_path / 'model')!r}).task.name)"
    done = run(["-c", code], drop_privileges)
    assert done.stdout == "toy\n", done.stderr


SAVE_OFTEN = """
import sys
from pathlib import Path
from wm_gym.files import write_json
from wm_gym.testing import inputs
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
model = inputs.make_model(seed)
print("ready", flush=True)
for _ in range(30):
    model.save(folder / "model")
    write_json(folder / "a.json", {"seed": seed})
"""


def test_of_two_writers_at_once_the_last_one_leaves_a_whole_file(tmp_path):
    """Without the lock that programs hold: two processes save other models under one name."""
    command = [sys.executable, "-c", SAVE_OFTEN, str(tmp_path)]
    writers = [subprocess.Popen([*command, seed], stdout=subprocess.PIPE, text=True) for seed in ("0", "1")]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 2
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    assert [fault for check in verify_folder(tmp_path / "model") for fault in check.faults] == []
    assert load_model(tmp_path / "model").manifest["seed"] in (0, 1)
    assert read_json(tmp_path / "a.json")["seed"] in (0, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "a.json"}
    for writer in writers:
        writer.stdout.close()
