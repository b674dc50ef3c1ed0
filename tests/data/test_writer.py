import json
import multiprocessing
import os
from dataclasses import replace

import numpy as np
import pytest

from wm_gym.data import tables
from wm_gym.data.episodes import open_dataset, verify_dataset
from wm_gym.errors import DataError

KEYS = ["ep-0", "ep-1"]


@pytest.fixture
def task(make_task):
    return make_task()


@pytest.fixture
def episodes(task, make_episode):
    return [make_episode(task, 0, 3), make_episode(task, 1, 2, terminated=True)]


def record(writer, episodes):
    """What a recording program does, from wherever it stopped."""
    if writer.finished:
        return
    staged = writer.staged()
    for key, episode in zip(KEYS, episodes, strict=True):
        if key not in staged:
            writer.stage(key, episode)
    writer.finish(KEYS)


def die_before(event):
    """Make this process vanish, without any clean-up, before the given call that changes the disk (counted from 1)."""
    calls = 0

    def counted(function):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == event:
                os._exit(9)
            return function(*args, **kwargs)

        return call

    for name in ("rename", "replace", "fsync", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_kill_at_any_moment_loses_no_finished_episode(tmp_path, task, episodes, make_writer):
    """Kill the recorder before its 1st, 2nd, ... change of the disk; after each, what is there is whole and goes on."""
    seen, event, status = set(), 0, 9
    while status == 9:
        event += 1
        folder = tmp_path / str(event) / "data"
        child = os.fork()
        if not child:
            die_before(event)
            record(make_writer(folder, task), episodes)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        writer = make_writer(folder, task)
        if writer.finished:
            assert len(verify_dataset(folder)) == 2
        else:
            staged = writer.staged()
            assert {key: len(writer.load_staged(key)) for key in staged} == staged
            assert all(steps == {"ep-0": 3, "ep-1": 2}[key] for key, steps in staged.items())
        seen.add("finished" if writer.finished else len(writer.staged()))
        record(writer, episodes)
        dataset = verify_dataset(folder)
        assert np.array_equal(dataset.episode(1).observations, episodes[1].observations)
        assert [path.name for path in folder.parent.iterdir()] == ["data"], "something was left behind"
    assert status == 0 and seen == {0, 1, 2, "finished"}


def test_half_written_leftovers_are_ignored_and_removed(tmp_path, task, episodes, make_writer):
    writer = make_writer(tmp_path / "data", task)
    writer.stage("ep-0", episodes[0])
    child = multiprocessing.get_context("spawn").Process()
    child.start()
    child.join()
    dead = tmp_path / f"data.staging/.partial-{child.pid}-ep-1"
    alive = tmp_path / f"data.staging/.partial-{os.getpid()}-ep-1"
    for leftover in (dead, alive):
        leftover.mkdir()
        (leftover / "episode.parquet").write_bytes(b"half")
    assert writer.staged() == {"ep-0": 3}
    assert not dead.exists(), "a killed process's leftover stays"
    assert alive.exists(), "an episode that is being written was removed"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("episode.json", "{}", r"episode.json: damaged \(steps, behaviour, seed, cameras\)"),
        ("episode.json", '{"steps": 0, "behaviour": "", "seed": 0, "cameras": {}}', r"episode.json: damaged"),
        ("episode.json", '{"steps": 9, "behaviour": "", "seed": 0, "cameras": {}}', r"not the 10 rows of an episode"),
        ("episode.parquet", "half", r"episode.parquet: damaged parquet"),
    ],
)
def test_a_damaged_staged_episode_is_named(tmp_path, task, episodes, make_writer, file, content, message):
    writer = make_writer(tmp_path / "data", task)
    writer.stage("ep-0", episodes[0])
    (tmp_path / "data.staging/ep-0" / file).write_text(content)
    with pytest.raises(DataError, match=message):
        writer.staged()
        writer.load_staged("ep-0")


def test_a_staged_episode_with_damaged_statistics_is_not_joined(tmp_path, make_task, make_episode, make_writer):
    task = make_task(cameras=("main",))
    writer = make_writer(tmp_path / "data", task)
    for number, key in enumerate(KEYS):
        writer.stage(key, make_episode(task, number, 3))
    path = tmp_path / "data.staging/ep-1/episode.json"
    facts = json.loads(path.read_text())
    for change in ({"mean": "high"}, {"mean": [[0.0]]}, {"q01": None}):
        path.write_text(json.dumps(facts | {"cameras": {"main": facts["cameras"]["main"] | change}}))
        with pytest.raises(DataError, match=r"data.staging: a staged episode is damaged"):
            writer.finish(KEYS)
        assert set(writer.staged()) == set(KEYS) and not (tmp_path / "data").exists()
    path.write_text(json.dumps(facts))
    assert len(writer.finish(KEYS)) == 2


def test_what_cannot_be_read_back_never_becomes_the_dataset(tmp_path, task, episodes, make_writer):
    writer = make_writer(tmp_path / "data", task)
    for key, episode in zip(KEYS, episodes, strict=True):
        writer.stage(key, episode)
    path = tmp_path / "data.staging/ep-1/episode.parquet"
    columns = tables.read_table(path)
    columns["frame_index"] = columns["frame_index"][::-1]
    tables.write_table(path, columns)
    with pytest.raises(DataError, match=r"episode 1: column 'frame_index' is wrong"):
        writer.finish(KEYS)
    assert not (tmp_path / "data").exists() and set(writer.staged()) == set(KEYS)


def stage_one(writer, key, episode):
    writer.stage(key, episode)


def test_several_processes_stage_at_once(tmp_path, task, make_episode, make_writer):
    writer = make_writer(tmp_path / "data", task)
    expected = {f"ep-{number}": make_episode(task, number, 2 + number) for number in range(6)}
    with multiprocessing.get_context("fork").Pool(3) as pool:
        pool.starmap(stage_one, [(writer, key, episode) for key, episode in expected.items()])
    assert writer.staged() == {key: len(episode) for key, episode in expected.items()}
    dataset = writer.finish(list(reversed(expected)))
    for found, episode in zip(dataset.episodes(), reversed(expected.values()), strict=True):
        assert np.array_equal(found.observations, episode.observations)


def test_a_finished_recording_is_recognised_and_not_touched(tmp_path, task, episodes, make_writer):
    folder = tmp_path / "data"
    record(make_writer(folder, task), episodes)
    digest = open_dataset(folder).digest()
    writer = make_writer(folder, task)
    assert writer.finished and writer.staged() == {}
    for action in (lambda: writer.stage("ep-9", episodes[0]), lambda: writer.finish(KEYS)):
        with pytest.raises(DataError, match="is complete already"):
            action()
    assert make_writer(folder, task, versions={"mujoco": "4.0.1"}).finished, "a new library does not undo a dataset"
    with pytest.raises(DataError, match=r"another recording \(recipe.seed was 7 and is 8\)"):
        make_writer(folder, task, recipe={"seed": 8, "num_steps": 20, "behaviours": {"random": 0.5, "smooth": 0.5}})
    assert verify_dataset(folder).digest() == digest
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_another_recording_does_not_go_on_from_this_one(tmp_path, task, episodes, make_writer, make_task):
    folder = tmp_path / "data"
    make_writer(folder, task, {"seed": 0, "mix": {"random": 1.0}}).stage("ep-0", episodes[0])
    for other, message in (
        (dict(recipe={"seed": 1, "mix": {"random": 1.0}}), r"recipe.seed was 0 and is 1"),
        (dict(recipe={"seed": 0, "mix": {"random": 0.5}}), r"recipe.mix.random was 1.0 and is 0.5"),
        (dict(recipe={"seed": 0, "mix": {"random": 1.0}, "noise": 2}), r"recipe.noise was None and is 2"),
        (dict(recipe={"seed": 0, "mix": {"random": 1.0}}, versions={"mujoco": "4"}), r"versions.mujoco"),
    ):
        with pytest.raises(
            DataError, match=rf"unfinished episodes of another recording \({message}.*; repeat the first"
        ):
            make_writer(folder, task, **other)
    with pytest.raises(DataError, match=r"task.action_space"):
        make_writer(folder, make_task(action=3), {"seed": 0, "mix": {"random": 1.0}})
    assert make_writer(folder, task, {"mix": {"random": 1.0}, "seed": 0}).staged() == {"ep-0": 3}


def test_a_folder_of_something_else_is_left_alone(tmp_path, task, make_writer):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="exists and is not a dataset"):
        make_writer(tmp_path / "data", task)
    assert (tmp_path / "data/thesis.tex").read_text() == "years of work"


def test_an_empty_folder_may_become_the_dataset(tmp_path, task, episodes, make_writer):
    (tmp_path / "data").mkdir()
    record(make_writer(tmp_path / "data", task), episodes)
    assert len(open_dataset(tmp_path / "data")) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda e: {"observations": e.observations[:, :2]},
            r"observations of shape \(4, 2\), task 'fake' needs \(4, 3\)",
        ),
        (lambda e: {"observations": e.observations[:-1]}, r"observations of shape \(3, 3\)"),
        (lambda e: {"actions": np.zeros((3, 1), np.float32)}, r"actions of shape \(3, 1\)"),
        (lambda e: {"rewards": np.array([0, np.nan, 0], np.float32)}, r"rewards\[1\] is not finite"),
        (lambda e: {"qpos": np.full((4, 2), np.inf)}, r"qpos\[0\] is not finite"),
        (lambda e: {"qvel": None}, r"qpos and qvel go together"),
        (lambda e: {"qpos": e.qpos[:, 0]}, r"qpos of shape \(4,\), task 'fake' needs \(4, 1\)"),
        (lambda e: {"qpos": e.qpos[:, :0]}, r"qpos of shape \(4, 0\)"),
        (lambda e: {"qpos": e.qpos[:0]}, r"qpos of shape \(0, 2\)"),
        (lambda e: {"qpos": e.qpos[:2]}, r"qpos of shape \(2, 2\)"),
        (lambda e: {"actions": np.zeros((0, 2), np.float32)}, r"no steps"),
        (lambda e: {"frames": {}}, r"cameras \[\], task 'fake' has \['main'\]"),
        (lambda e: {"frames": {"main": e.frames["main"][:2]}}, r"camera 'main' gave \(2, 16, 24, 3\)"),
        (lambda e: {"frames": {"main": e.frames["main"] / 255}}, r"float64, not \(4, 16, 24, 3\) uint8"),
    ],
)
def test_an_episode_that_does_not_fit_is_refused_and_leaves_nothing(
    tmp_path, make_task, make_episode, make_writer, change, message
):
    task = make_task(cameras=("main",))
    writer, good = make_writer(tmp_path / "data", task), make_episode(task, 0, 3)
    with pytest.raises(DataError, match=rf"episode 'ep-0': .*{message}"):
        writer.stage("ep-0", replace(good, **change(good)))
    assert [path.name for path in (tmp_path / "data.staging").iterdir()] == ["recording.json"]


def test_a_full_disk_leaves_no_half_episode(tmp_path, task, episodes, make_writer, monkeypatch):
    writer = make_writer(tmp_path / "data", task)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wm_gym.data.writer.write_json", full)
    with pytest.raises(OSError, match="No space left"):
        writer.stage("ep-0", episodes[0])
    assert [path.name for path in (tmp_path / "data.staging").iterdir()] == ["recording.json"]


def test_keys_name_one_episode_each(tmp_path, task, episodes, make_writer):
    writer = make_writer(tmp_path / "data", task)
    writer.stage("ep-0", episodes[0])
    with pytest.raises(DataError, match="'ep-0' is staged already"):
        writer.stage("ep-0", episodes[1])
    for key in ("../ep", "", ".hidden", "a/b"):
        with pytest.raises(DataError, match="use letters, digits"):
            writer.stage(key, episodes[0])
    for keys in ([], ["ep-0", "ep-0"], ["ep-0", "ep-1"]):
        with pytest.raises(DataError, match="cannot join"):
            writer.finish(keys)
    writer.discard("ep-0")
    writer.discard("ep-0")
    assert writer.staged() == {}
    writer.stage("ep-0", episodes[1])
    assert writer.load_staged("ep-0").seed == episodes[1].seed


def test_episodes_with_and_without_physics_are_not_joined(tmp_path, task, episodes, make_writer):
    writer = make_writer(tmp_path / "data", task)
    writer.stage("ep-0", episodes[0])
    writer.stage("ep-1", replace(episodes[1], qpos=None, qvel=None))
    with pytest.raises(DataError, match=r"episode 'ep-1' recorded"):
        writer.finish(KEYS)
    assert set(writer.staged()) == set(KEYS) and not (tmp_path / "data").exists()


def test_a_task_that_cannot_be_stored_is_refused_before_recording(tmp_path, make_task, make_writer):
    good = make_task(cameras=("main",))
    camera = good.cameras[0]
    for cameras, message in (
        ((replace(camera, width=25),), "even width and height, not 25 x 16"),
        ((replace(camera, name="a/b"),), "camera name 'a/b'"),
        ((camera, camera), "two cameras have the same name"),
    ):
        with pytest.raises(DataError, match=message):
            make_writer(tmp_path / "data", replace(good, cameras=cameras))
    with pytest.raises(DataError, match="positive control_dt"):
        make_writer(tmp_path / "data", replace(good, control_dt=0.0))
    with pytest.raises(DataError, match="plain finite values"):
        make_writer(tmp_path / "data", good, recipe={"noise": float("nan")})
    assert not list(tmp_path.iterdir())
