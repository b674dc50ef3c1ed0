"""Three episodes of 12, 11 and 15 steps with two cameras; the last one's second camera was missing."""

from dataclasses import replace

import numpy as np
import pytest

from wm_gym.data import frames as frames_module
from wm_gym.data.episodes import open_dataset
from wm_gym.data.frames import cache_frames, check_same_views, frozen_camera
from wm_gym.data.video import read_video, write_video
from wm_gym.errors import DataError


@pytest.fixture
def dataset(tmp_path, make_task, make_episode, make_writer):
    task = make_task(cameras=("front", "side"))
    writer = make_writer(tmp_path / "data", task)
    for number, steps in enumerate((12, 11, 15)):
        episode = make_episode(task, number, steps)
        if number == 2:
            episode.frames["side"][:] = 0
        writer.stage(f"e{number}", episode)
    return writer.finish(["e0", "e1", "e2"])


def test_a_camera_that_looked_from_elsewhere_is_named(dataset):
    front, side = dataset.task.cameras
    check_same_views(dataset, [front, side])
    check_same_views(dataset, [])
    with pytest.raises(DataError, match=r"'side' was recorded with samples=1, the model sees with 4"):
        check_same_views(dataset, [front, replace(side, samples=4)])
    with pytest.raises(DataError, match="no camera 'wrist'"):
        check_same_views(dataset, [replace(side, name="wrist")])


def damage(dataset, camera, change):
    path = dataset.video(0, camera)
    change(path)
    return open_dataset(dataset.folder, check_videos=False)


def test_the_cache_holds_what_the_videos_hold(dataset, tmp_path):
    told = []
    cache = cache_frames(dataset, ["front", "side"], tmp_path / "cache", progress=told.append)
    assert told == [1, 2, 3] and cache.bad == {}
    assert cache.first_rows.tolist() == [0, 13, 25, 41]
    assert cache.frames["front"].shape == (41, 16, 24, 3)
    assert cache.rows([0, 2]).tolist() == [*range(13), *range(25, 41)]
    for index in range(3):
        episode = dataset.episode(index, ["front", "side"])
        held = cache.of(index)
        assert all(np.array_equal(held[name], episode.frames[name]) for name in ("front", "side"))
    assert not cache.of(2)["side"].any()


def test_it_decodes_once(dataset, tmp_path, monkeypatch):
    first = cache_frames(dataset, ["front"], tmp_path / "cache")
    monkeypatch.setattr(frames_module, "_decode", None)  # a second call would be an error
    again = cache_frames(dataset, ["front"], tmp_path / "cache")
    assert np.array_equal(first.frames["front"], again.frames["front"])


def test_a_video_of_another_size_is_named_with_both(dataset, tmp_path):
    def shrink(path):
        write_video(path, read_video(path)[:, :8, :8], 10)

    with pytest.raises(DataError, match=r"frames of 8 x 8 pixels, camera 'front' has 24 x 16; skip_bad=true"):
        cache_frames(damage(dataset, "front", shrink), ["front"], tmp_path / "cache")


def test_a_corrupt_video_is_named_and_left_out_only_when_asked(dataset, tmp_path):
    def spoil(path):
        content = bytearray(path.read_bytes())
        place = content.index(b"mdat") + 8
        content[place + 400 : place + 900] = bytes(500)
        path.write_bytes(content)

    spoilt = damage(dataset, "front", spoil)
    with pytest.raises(DataError, match=r"episode 0: .*front.*damaged.*; skip_bad=true leaves it out"):
        cache_frames(spoilt, ["front"], tmp_path / "cache")
    cache = cache_frames(spoilt, ["front"], tmp_path / "cache", skip_bad=True)
    assert 0 in cache.bad and len(cache.bad) < 3
    good = next(index for index in range(3) if index not in cache.bad)
    assert cache.of(good)["front"].any()


@pytest.mark.parametrize("change", [-1, 1])
def test_a_frame_too_few_or_too_many_puts_every_episode_of_the_video_in_doubt(dataset, tmp_path, change):
    def shorten(path):
        frames = read_video(path)
        write_video(path, frames[:-1] if change < 0 else np.concatenate([frames, frames[-1:]]), 50)

    spoilt = damage(dataset, "front", shorten)
    with pytest.raises(DataError, match=f"episode 0: .*{41 + change} frames, the table has 41 rows"):
        cache_frames(spoilt, ["front"], tmp_path / "cache")
    with pytest.raises(DataError, match="no episode has usable frames"):
        cache_frames(spoilt, ["front"], tmp_path / "cache", skip_bad=True)


def test_a_camera_that_freezes_while_the_robot_moves_is_found(dataset):
    episode = dataset.episode(0, ["front"])
    spread = np.ones(3)
    assert frozen_camera(episode, spread) == ""
    episode.frames["front"][2:] = episode.frames["front"][2]
    assert frozen_camera(episode, spread) == "camera 'front' is frozen for its last 10 steps while the robot moves"
    assert frozen_camera(episode, spread * 1000) == ""  # the robot stands as still as its camera
    episode.frames["front"][:4] = episode.frames["front"][3]
    episode.frames["front"][4:] = np.arange(9, dtype=np.uint8)[:, None, None, None] * 20
    assert frozen_camera(episode, spread) == ""  # a stand-still that ends is none


def test_a_camera_that_was_missing_is_not_frozen(dataset):
    assert frozen_camera(dataset.episode(2, ["side"]), np.ones(3)) == ""
