"""Files appear whole or not at all, and a damaged one is refused with one line."""

import json
import os
import time

import pytest

from wm_gym import files
from wm_gym.errors import DataError, ModelError
from wm_gym.files import (
    changed_files,
    file_hash,
    missing_files,
    read_json,
    replacing,
    replacing_folder,
    write_json,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_comes_back(tmp_path):
    write_json(tmp_path / "new" / "a.json", {"x": [1, 2.5, None], "y": {"é": "ß"}})
    assert read_json(tmp_path / "new" / "a.json") == {"x": [1, 2.5, None], "y": {"é": "ß"}}
    assert names(tmp_path / "new") == ["a.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' is given twice"),
        ('{"b": {"a": 1, "a": 1}}', "the key 'a' is given twice"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ('{"a": -Infinity}', "-Infinity is no number of JSON"),
        ('{"a": 1e999}', "1e999 is beyond any number"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
        ('{"a": ' + "[" * 100_000, "not JSON"),
        ("[1]", "not a JSON object"),
        ("", "not JSON"),
        ('{"a": 1', "not JSON"),
        ('{"a": "\udcff"}', "not JSON"),
    ],
)
def test_what_is_no_strict_json_is_refused(tmp_path, text, words):
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=words) as caught:
        read_json(tmp_path / "a.json")
    assert str(caught.value).startswith(f"{tmp_path / 'a.json'}: damaged")
    assert len(str(caught.value).splitlines()) == 1


def test_a_pipe_a_folder_and_a_giant_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    with (tmp_path / "giant.json").open("wb") as file:
        file.truncate(files.MAX_JSON_BYTES + 1)  # takes no room on the disk
    started = time.monotonic()
    for name, words in (("pipe", "not a file"), ("folder", "not a file"), ("giant", "bytes are more than")):
        with pytest.raises(ModelError, match=words):
            read_json(tmp_path / f"{name}.json", ModelError)
    assert time.monotonic() - started < 1


def test_an_unfinished_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(KeyError), replacing(path) as partial:
        partial.write_text("half")
        raise KeyError
    assert read_json(path) == {"a": 1} and names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced_whole(tmp_path, exchange, monkeypatch):
    if not exchange:
        monkeypatch.setattr(files.ctypes, "CDLL", lambda name: None)  # as on a system that cannot swap two folders
    for number in (1, 2):
        with replacing_folder(tmp_path / "model") as partial:
            (partial / f"{number}.txt").write_text("x")
    assert names(tmp_path / "model") == ["2.txt"] and names(tmp_path) == ["model"]
    with pytest.raises(KeyError), replacing_folder(tmp_path / "model") as partial:
        (partial / "3.txt").write_text("x")
        raise KeyError
    assert names(tmp_path / "model") == ["2.txt"] and names(tmp_path) == ["model"]


def test_what_killed_writers_left_is_removed_by_the_next(tmp_path):
    child = os.fork()
    if not child:
        with replacing(tmp_path / "a.json") as partial:
            partial.write_text("half")
            os._exit(9)
    os.waitpid(child, 0)
    alive = tmp_path / f".partial-{os.getppid()}-a.json"
    alive.write_text("another process is at it")
    assert names(tmp_path) == sorted([f".partial-{child}-a.json", alive.name])
    write_json(tmp_path / "a.json", {})
    assert names(tmp_path) == [alive.name, "a.json"]


def test_each_missing_changed_or_foreign_file_is_named(tmp_path):
    for name in ("good", "bad"):
        (tmp_path / name).write_text(name)
    listed = {
        "good": file_hash(tmp_path / "good"),
        "bad": "0" * 64,
        "gone": "0" * 64,
        "../outside": "0" * 64,
        "/etc/passwd": "0" * 64,
        "a/../good": "0" * 64,
        "x" * 5000: "0" * 64,
        "nul\0": "0" * 64,
        ".": "0" * 64,
    }
    missing = list(missing_files(tmp_path, listed, "copy it"))
    assert missing[0] == f"{tmp_path / 'gone'}: missing; copy it"
    assert len(missing) == 7 and all("no file of this folder" in line for line in missing[1:])
    changed = list(changed_files(tmp_path, listed, "copy it"))
    assert changed == [f"{tmp_path / 'bad'}: changed since it was written (sha256 differs); copy it"]


def test_nothing_that_is_not_finite_is_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert names(tmp_path) == []


def test_a_file_keeps_the_old_content_until_the_new_is_whole(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with replacing(path) as partial:
        partial.write_text('{"a": 2}')
        assert json.loads(path.read_text()) == {"a": 1}
    assert json.loads(path.read_text()) == {"a": 2}
