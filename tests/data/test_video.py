import av
import numpy as np
import pytest

from wm_gym.data.video import LiveVideo, frame_times, inspect_video, join_videos, read_video, write_video
from wm_gym.errors import DataError


def test_frames_come_back_nearly_as_they_were(tmp_path, film):
    frames = film(20)
    write_video(tmp_path / "a.mp4", frames, fps=50)
    decoded = read_video(tmp_path / "a.mp4")
    assert decoded.shape == frames.shape and decoded.dtype == np.uint8
    error = np.abs(decoded.astype(int) - frames)
    assert error.mean() < 1.5 and error.max() <= 16
    assert abs((decoded.astype(int) - frames).mean()) < 0.3, "the colours are shifted"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_the_bytes_depend_on_the_frames_alone(tmp_path, film):
    """x264 tells its settings in the stream: its macroblock tree gave other bytes on a busy machine."""
    write_video(tmp_path / "a.mp4", film(20), fps=50)
    write_video(tmp_path / "b.mp4", film(20), fps=50)
    written = (tmp_path / "a.mp4").read_bytes()
    assert written == (tmp_path / "b.mp4").read_bytes()
    settings = written[written.index(b"options: ") :].split(b"\0")[0].decode("ascii", "ignore").split()
    assert set(settings) >= {"mbtree=0", "threads=1", "bframes=0"}


def test_a_live_camera_shows_what_its_recording_would_hold(tmp_path, film):
    frames = film(40)
    write_video(tmp_path / "a.mp4", frames, fps=50)
    live = LiveVideo(50)
    first = live.pass_on(frames[0])
    assert first.shape == frames[0].shape and first.dtype == np.uint8
    assert np.array_equal(np.stack([first, *live.pass_all(frames[1:])]), read_video(tmp_path / "a.mp4"))
    with pytest.raises(DataError):
        LiveVideo(50).pass_on(frames[0].astype(float))


def test_colours_keep_their_places(tmp_path):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]], np.uint8)
    frames = np.broadcast_to(colours[:, None, None], (5, 8, 8, 3))
    write_video(tmp_path / "a.mp4", frames, fps=10)
    assert np.abs(read_video(tmp_path / "a.mp4").astype(int) - frames).max() <= 4


def test_any_stretch_can_be_read_alone(tmp_path, film):
    write_video(tmp_path / "a.mp4", film(21), fps=30)
    whole = read_video(tmp_path / "a.mp4")
    for start in range(21):
        assert np.array_equal(read_video(tmp_path / "a.mp4", start, 1), whole[start : start + 1])
    assert np.array_equal(read_video(tmp_path / "a.mp4", 5, 12), whole[5:17])
    assert np.array_equal(read_video(tmp_path / "a.mp4", 9), whole[9:])


@pytest.mark.parametrize("fps", [1, 7, 20, 25, 30, 50, 125, 500])
def test_joined_videos_are_the_videos_end_to_end(tmp_path, film, fps):
    paths, parts = [], []
    for number, count in enumerate((11, 1, 8)):
        paths.append(tmp_path / f"{number}.mp4")
        write_video(paths[-1], film(count, number), fps)
        parts.append(read_video(paths[-1]))
    join_videos(paths, tmp_path / "joined.mp4")
    info = inspect_video(tmp_path / "joined.mp4")
    assert (info.frames, info.width, info.height, info.fps) == (20, 24, 16, fps)
    whole = read_video(tmp_path / "joined.mp4")
    assert np.array_equal(whole, np.concatenate(parts)), "joining changed the picture"
    for start in range(20):
        assert np.array_equal(read_video(tmp_path / "joined.mp4", start, 1)[0], whole[start])


def test_videos_of_another_size_are_not_joined(tmp_path, film):
    write_video(tmp_path / "a.mp4", film(3), 10)
    write_video(tmp_path / "b.mp4", film(3)[:, :8], 10)
    with pytest.raises(DataError, match=r"b\.mp4: encoded unlike"):
        join_videos([tmp_path / "a.mp4", tmp_path / "b.mp4"], tmp_path / "c.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((3, 16, 23, 3), np.uint8, "even width and height, not 23 x 16"),
        ((3, 15, 24, 3), np.uint8, "even width and height, not 24 x 15"),
        ((3, 16, 24, 3), np.float32, "uint8"),
        ((3, 16, 24), np.uint8, "T, H, W, 3"),
        ((0, 16, 24, 3), np.uint8, "T >= 1"),
    ],
)
def test_frames_that_cannot_be_stored_are_refused(tmp_path, shape, dtype, message):
    with pytest.raises(DataError, match=message):
        write_video(tmp_path / "a.mp4", np.zeros(shape, dtype), 10)
    assert not list(tmp_path.iterdir())


def test_a_missing_short_or_damaged_video_is_named(tmp_path, film):
    path = tmp_path / "a.mp4"
    with pytest.raises(DataError, match=r"a\.mp4: no such video"):
        read_video(path)
    write_video(path, film(20), 10)
    with pytest.raises(DataError, match=r"a\.mp4: frames 15 to 24 were asked for, but the video holds 20"):
        read_video(path, 15, 10)
    with pytest.raises(DataError, match=r"a\.mp4: .* the video holds 20"):
        read_video(path, 40)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    for read in (read_video, inspect_video):
        with pytest.raises(DataError, match=r"a\.mp4: damaged video"):
            read(path)
    middle = len(whole) // 3
    path.write_bytes(whole[:middle] + bytes(60) + whole[middle + 60 :])
    with pytest.raises(DataError, match=r"a\.mp4: damaged video"):
        read_video(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.mp4: damaged video"):
        inspect_video(path)


def test_times_are_told_frame_by_frame(tmp_path, film):
    write_video(tmp_path / "a.mp4", film(5), 20)
    assert [float(time) for time in frame_times(tmp_path / "a.mp4")] == [0.0, 0.05, 0.1, 0.15, 0.2]


def test_only_the_format_that_we_write_is_read(tmp_path, film):
    """FFmpeg guesses formats: some are lists that make it open other files, wherever they lie."""
    write_video(tmp_path / "secret.mp4", film(3), 10)
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n")
    (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    for name in ("list.mp4", "concat.mp4"):
        with pytest.raises(DataError, match="damaged video"):
            inspect_video(tmp_path / name)


def test_another_codec_is_refused(tmp_path, film):
    with av.open(str(tmp_path / "a.mp4"), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 24, 16, "yuv420p"
        for picture in film(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    with pytest.raises(DataError, match="mpeg4 instead of h264"):
        read_video(tmp_path / "a.mp4")
