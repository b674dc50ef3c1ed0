import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wm_gym.data import lerobot, tables
from wm_gym.data.episodes import open_dataset, verify_dataset
from wm_gym.data.metadata import MANIFEST, TASK
from wm_gym.data.segments import split_episodes
from wm_gym.data.video import read_video, write_video
from wm_gym.errors import DataError
from wm_gym.files import file_hash

NUMBERS = ("observations", "actions", "rewards", "qpos", "qvel")
FACTS = ("terminated", "truncated", "control_dt", "behaviour", "seed")
VIDEO = lerobot.video_file("main", 0)


def assert_same(found, expected):
    for name in NUMBERS:
        left, right = getattr(found, name), getattr(expected, name)
        if right is None:
            assert left is None, name
        else:
            assert left.dtype == right.dtype and np.array_equal(left, right), name
    for name in FACTS:
        assert getattr(found, name) == getattr(expected, name), name


def listing(folder):
    return {path.relative_to(folder): path.stat().st_size for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, record):
    folder = tmp_path_factory.mktemp("recorded") / "data"
    return record(folder, lengths=(4, 2, 3), cameras=("main", "side"))


@pytest.fixture
def copy(recorded, tmp_path):
    """A dataset of three episodes of 4, 2 and 3 steps and two cameras, to be damaged."""
    return shutil.copytree(recorded[0].folder, tmp_path / "data")


def rewrite_table(folder, change):
    columns = tables.read_table(folder / lerobot.DATA)
    columns = {name: values.copy() for name, values in columns.items()}
    change(columns)
    tables.write_table(folder / lerobot.DATA, columns)


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# What goes in comes out


def test_numbers_come_back_exactly_and_frames_nearly(recorded):
    dataset, episodes = recorded
    assert len(dataset) == 3 and dataset.num_steps == 9 and dataset.lengths.tolist() == [4, 2, 3]
    assert dataset.behaviours == ("random", "smooth", "random")
    for index, expected in enumerate(episodes):
        found = dataset.episode(index, cameras=("side", "main"))
        assert_same(found, expected)
        assert list(found.frames) == ["side", "main"]
        for camera, frames in expected.frames.items():
            assert np.abs(found.frames[camera].astype(int) - frames).mean() < 2
    assert all(not episode.frames for episode in dataset.episodes())
    for found, index in zip(dataset.episodes([2, 0]), (2, 0), strict=True):
        assert_same(found, episodes[index])


@pytest.mark.parametrize(("state", "action", "physics"), [(1, 1, True), (3, 1, False), (0, 2, True)])
def test_sizes_of_zero_and_one_come_back_as_matrices(tmp_path, record, state, action, physics):
    dataset, episodes = record(tmp_path / "data", state=state, action=action, physics=physics)
    for found, expected in zip(dataset.episodes(), episodes, strict=True):
        assert_same(found, expected)


def test_a_row_is_an_observation_and_the_last_one_is_final(recorded):
    table = pq.read_table(recorded[0].folder / lerobot.DATA).to_pydict()
    assert table["is_final"] == [False] * 4 + [True] + [False] * 2 + [True] + [False] * 3 + [True]
    assert table["episode_index"] == [0] * 5 + [1] * 3 + [2] * 4
    assert table["frame_index"] == [0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3]
    assert table["index"] == list(range(12))
    assert table["next.terminated"] == [False] * 3 + [True] + [False] * 6 + [True, False]
    assert table["next.truncated"] == [False] * 6 + [True] + [False] * 5
    assert [row for row, done in enumerate(table["next.done"]) if done] == [3, 6, 10]
    assert table["next.reward"] == [0, -1, -2, -3, 0, 0, -1, 0, 0, -1, -2, 0]
    assert [table["action"][row] for row in (4, 7, 11)] == [[0, 0]] * 3
    assert np.allclose(table["timestamp"], np.array(table["frame_index"]) / 50)


def test_an_episode_is_the_callers_own(recorded):
    dataset, episodes = recorded
    dataset.episode(0).observations[:] = -1
    assert_same(dataset.episode(0), episodes[0])


def test_the_manifest_says_where_the_data_came_from(recorded):
    folder, manifest = recorded[0].folder, recorded[0].manifest
    assert manifest["licence"] == "MIT" and manifest["command"] == "collect task=fake" and manifest["seed"] == 7
    assert manifest["recipe"]["behaviours"] == {"random": 0.5, "smooth": 0.5}
    assert manifest["behaviours"] == ["random", "smooth", "random"]
    assert manifest["versions"]["mujoco"] == "3.12.0" and manifest["versions"]["numpy"] == np.__version__
    assert {"wm_gym", "python", "av", "pyarrow"} <= set(manifest["versions"])
    on_disk = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == on_disk - {MANIFEST}
    assert all(file_hash(folder / name) == value for name, value in manifest["files"].items())
    assert open_dataset(folder).task == recorded[0].task


def test_the_same_recording_has_the_same_digest_and_another_has_not(tmp_path, recorded, record):
    again, _ = record(tmp_path / "again", lengths=(4, 2, 3), cameras=("main", "side"))
    other, _ = record(tmp_path / "other", lengths=(4, 2, 2), cameras=("main", "side"))
    assert (
        again.digest()
        == recorded[0].digest()
        == open_dataset(again.folder).digest()
        == verify_dataset(again.folder).digest()
    )
    assert other.digest() != again.digest()


def test_a_long_recording_is_cut_into_several_videos(tmp_path, record, monkeypatch):
    monkeypatch.setattr(lerobot, "MAX_VIDEO_SECONDS", 0.16)  # 8 frames at 50 per second
    dataset, episodes = record(tmp_path / "data", lengths=(4, 2, 3, 9), cameras=("main",))
    videos = sorted((dataset.folder / "videos").rglob("*.mp4"))
    assert [len(read_video(path)) for path in videos] == [8, 4, 10]
    for index, expected in enumerate(episodes):
        frames = dataset.episode(index, ["main"]).frames["main"]
        assert frames.shape == expected.frames["main"].shape
        assert np.abs(frames.astype(int) - expected.frames["main"]).mean() < 2, (
            f"episode {index} shows another's frames"
        )


def test_statistics_agree_with_the_rows(recorded):
    dataset, episodes = recorded
    stats = json.loads((dataset.folder / lerobot.STATS).read_text())
    state = np.concatenate([episode.observations for episode in episodes]).astype(np.float64)
    assert np.allclose(stats["observation.state"]["mean"], state.mean(0))
    assert np.allclose(stats["observation.state"]["std"], state.std(0))
    assert stats["observation.state"]["count"] == [12]
    frames = np.concatenate([episode.frames["main"] for episode in episodes]) / 255
    image = stats["observation.images.main"]
    assert np.allclose(np.array(image["mean"])[:, 0, 0], frames.mean((0, 1, 2)))
    assert np.allclose(np.array(image["std"])[:, 0, 0], frames.std((0, 1, 2)))
    assert np.allclose(np.array(image["max"])[:, 0, 0], frames.max((0, 1, 2)))


def test_a_dataset_can_be_split_by_episode(tmp_path, record):
    dataset, _ = record(tmp_path / "data", lengths=[2] * 8)
    split = split_episodes(dataset, seed=0)
    assert sorted(split.train + split.validation + split.calibration) == list(range(8))


# Every fault is named


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def set_value(name, row, value):
    def change(folder):
        rewrite_table(folder, lambda columns: columns[name].__setitem__(row, value))

    return change


def drop_rows(count):
    def change(folder):
        rewrite_table(folder, lambda columns: columns.update({k: v[: len(v) - count] for k, v in columns.items()}))

    return change


def widen_state(folder):
    rewrite_table(folder, lambda columns: columns.update({"observation.state": np.zeros((12, 4), np.float32)}))


def shorten_video(folder):
    write_video(folder / VIDEO, read_video(folder / VIDEO)[:7], 50)


def lengthen_video(folder):
    frames = read_video(folder / VIDEO)
    write_video(folder / VIDEO, np.concatenate([frames, frames]), 50)


def shrink_video(folder):
    write_video(folder / VIDEO, read_video(folder / VIDEO)[:, :8], 50)


def make_holes(folder):
    table = pq.read_table(folder / lerobot.DATA)
    rewards = pa.array([None, *table["next.reward"].to_pylist()[1:]], pa.float32())
    pq.write_table(
        table.set_column(table.column_names.index("next.reward"), "next.reward", rewards), folder / lerobot.DATA
    )


def shift_episode(folder):
    table = pq.read_table(folder / lerobot.EPISODES)
    place = table.column_names.index("dataset_from_index")
    pq.write_table(table.set_column(place, "dataset_from_index", pa.array([0, 4, 8])), folder / lerobot.EPISODES)


def rename_in_manifest(name):
    def change(folder):
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["files"][name] = manifest["files"].pop(lerobot.STATS)
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return change


def set_type(name, kind):
    def change(folder):
        rewrite_table(folder, lambda columns: columns.update({name: columns[name].astype(kind)}))

    return change


def edit_episodes(name, values):
    def change(folder):
        table = pq.read_table(folder / lerobot.EPISODES)
        pq.write_table(table.set_column(table.column_names.index(name), name, values), folder / lerobot.EPISODES)

    return change


def promise_a_billion_rows(folder):
    """One value, run-length encoded: a billion rows in a few kilobytes."""
    values = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10**6, np.int8)), pa.array([0.0], pa.float32()))
    with pq.ParquetWriter(folder / lerobot.DATA, pa.schema([("action", values.type)])) as writer:
        for _ in range(20):
            writer.write_table(pa.table({"action": values}))


FAULTS = {
    "name outside": (rename_in_manifest("../stats.json"), r"manifest names '../stats.json', which is no file of this"),
    "name too long": (rename_in_manifest("a/" + "x" * 300), r"which is no file of this folder"),
    "no hash": (lambda f: edit_json(f / MANIFEST, files={TASK: 3}), r"the sha256 of a file is no text"),
    "provenance": (lambda f: edit_json(f / MANIFEST, versions=[]), r"'versions' is no dict"),
    "no rows": (drop_rows(12), r"0 rows, meta/episodes promises 12: episode 0 is incomplete"),
    "rewards as text": (set_type("next.reward", str), r"column 'next.reward' holds"),
    "times of fifty": (
        lambda f: rewrite_table(f, lambda columns: columns.update(timestamp=np.zeros((12, 50), np.float32))),
        r"column 'timestamp' has 50 numbers a row",
    ),
    "rows counted in floats": (set_type("index", np.float32), r"column 'index' holds float32"),
    "positions as flags": (set_type("privileged.qpos", bool), r"column 'privileged.qpos' holds bool"),
    "flags as numbers": (set_type("is_final", np.float32), r"column 'is_final' holds float32"),
    "episodes as floats": (set_type("episode_index", np.float64), r"column 'episode_index' holds float64"),
    "length unknown": (edit_episodes("length", pa.array([5, None, 4])), r"meta/episodes/.*: column 'length' has holes"),
    "seeds as text": (edit_episodes("seed", pa.array(["a", "b", "c"])), r"column 'seed' has holes, or holds string"),
    "frames nowhere": (
        edit_episodes("videos/observation.images.main/from_timestamp", pa.array([0.0, np.nan, 0.1])),
        r"meta/episodes/.*: episode 1 lies in no video",
    ),
    "a billion rows": (promise_a_billion_rows, r"file-000.parquet: damaged parquet \(\d+ numbers in \d+ bytes\)"),
    "no folder": (shutil.rmtree, r"data: no such dataset folder; record one"),
    "no manifest": (lambda f: (f / MANIFEST).unlink(), r"not a dataset of wm_gym: meta/MANIFEST.json is missing"),
    "no table": (lambda f: (f / lerobot.DATA).unlink(), r"data/chunk-000/file-000.parquet: missing; record"),
    "no video": (lambda f: (f / VIDEO).unlink(), r"images.main/chunk-000/file-000.mp4: missing; record"),
    "no statistics": (lambda f: (f / lerobot.STATS).unlink(), r"meta/stats.json: missing"),
    "table cut short": (lambda f: truncate(f / lerobot.DATA), r"data/chunk-000/file-000.parquet: damaged parquet"),
    "table empty": (lambda f: (f / lerobot.DATA).write_bytes(b""), r"data/chunk-000/file-000.parquet: damaged parquet"),
    "episodes cut short": (lambda f: truncate(f / lerobot.EPISODES), r"meta/episodes/.*: damaged parquet"),
    "info cut short": (lambda f: truncate(f / lerobot.INFO), r"meta/info.json: damaged: not JSON"),
    "task cut short": (lambda f: truncate(f / TASK), r"meta/task.json: damaged: not JSON"),
    "task of other words": (lambda f: edit_json(f / TASK, colour="red"), r"meta/task.json: not a task description"),
    "older LeRobot": (
        lambda f: edit_json(f / lerobot.INFO, codebase_version="v2.1"),
        r"info.json: LeRobot version 'v2.1'",
    ),
    "later schema": (lambda f: edit_json(f / MANIFEST, schema_version=99), r"MANIFEST.json: schema version 99"),
    "NaN": (set_value("observation.state", (6, 1), np.nan), r"episode 1: 'observation.state' is not finite at step 1"),
    "infinity": (set_value("privileged.qvel", 11, np.inf), r"episode 2: 'privileged.qvel' is not finite at step 3"),
    "holes": (make_holes, r"file-000.parquet: column 'next.reward' has holes"),
    "wrong shape": (widen_state, r"'observation.state' has 4 numbers a row, task 'fake' 3"),
    "rows missing": (drop_rows(2), r"10 rows, meta/episodes promises 12: episode 2 is incomplete"),
    "episodes missing": (drop_rows(5), r"7 rows, meta/episodes promises 12: episode 1 is incomplete"),
    "rows shuffled": (set_value("frame_index", 7, 0), r"episode 1: column 'frame_index' is wrong at step 2"),
    "episodes mixed": (set_value("episode_index", 8, 1), r"episode 2: column 'episode_index' is wrong at step 0"),
    "end moved": (set_value("is_final", 6, True), r"episode 1: column 'is_final' is wrong at step 1"),
    "episodes overlap": (shift_episode, r"meta/episodes/.*: episode 1 does not continue"),
    "video shorter than table": (shorten_video, r"main/.*mp4: episode 1 needs frames up to 8, the video holds 7"),
    "video longer than table": (lengthen_video, r"main/.*mp4: 24 frames, more than its episodes have rows"),
    "video of another size": (shrink_video, r"main/.*mp4: frames of 24 x 8, the task's camera 'main' has 24 x 16"),
    "video cut short": (lambda f: truncate(f / VIDEO), r"main/.*mp4: damaged video"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_dataset_is_refused_by_name_when_opened(copy, fault):
    damage, message = FAULTS[fault]
    damage(copy)
    before = listing(copy)
    with pytest.raises(DataError, match=message) as error:
        open_dataset(copy)
    assert "\n" not in str(error.value), "an error is one line"
    assert listing(copy) == before, "opening wrote something"


@pytest.mark.parametrize(
    "name", [lerobot.STATS, lerobot.DATA, lerobot.EPISODES, lerobot.TASKS, lerobot.INFO, TASK, VIDEO]
)
def test_a_changed_byte_is_found_by_verification(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(DataError, match=name.replace(".", r"\.").rpartition("/")[2]):
        verify_dataset(copy)


def test_damage_inside_a_video_names_the_episode(copy):
    whole = (copy / VIDEO).read_bytes()
    middle = len(whole) // 2
    (copy / VIDEO).write_bytes(whole[:middle] + bytes(60) + whole[middle + 60 :])
    dataset = open_dataset(copy)
    with pytest.raises(DataError, match=r"episode \d: .*main/chunk-000/file-000.mp4: damaged video"):
        for index in range(3):
            dataset.episode(index, ["main"])


def test_what_a_dataset_does_not_hold_is_named(recorded):
    with pytest.raises(DataError, match=r"no episode 3; it has 0 to 2"):
        recorded[0].episode(3)
    with pytest.raises(DataError, match=r"no camera 'top'; it has \['main', 'side'\]"):
        recorded[0].episode(0, ["top"])


def test_an_unfinished_recording_says_so(tmp_path, make_writer, make_task):
    make_writer(tmp_path / "data", make_task())
    with pytest.raises(DataError, match="not finished; repeat its command"):
        open_dataset(tmp_path / "data")


def test_without_permission_to_read_the_file_is_named(copy):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (copy / lerobot.INFO).chmod(0)
    with pytest.raises(DataError, match=r"info.json: cannot be read"):
        open_dataset(copy)
