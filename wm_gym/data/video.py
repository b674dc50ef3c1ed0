"""Camera frames <-> video files: h264 in mp4, near-lossless, with cheap access to any frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from wm_gym.errors import DataError
from wm_gym.files import replacing
from wm_gym.types import FrameArray

CRF = 10
"""Quality of x264, 0 (lossless) to 51: at 10 the rounding of chroma costs more than the compression."""
KEYFRAME_INTERVAL = 8
"""Frames between two that decode alone: reading any frame decodes at most this many."""
MAX_SIDE = 4096
"""Pixels; a video that promises larger frames is refused."""
EXACT_COLOURS = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
"""The conversion between RGB and YUV; FFmpeg's default is five times less accurate, and darker by one level."""


@dataclass(frozen=True)
class VideoInfo:
    """What the header of a video file says."""

    frames: int
    width: int
    height: int
    fps: Fraction


def write_video(path: Path | str, frames: FrameArray, fps: int) -> None:
    """Encode frames to an mp4 file that appears whole or not at all.

    There are no B-frames, so a packet is a frame and timestamps are exact multiples of 1 / fps.

    Args:
        path: the file to write or replace.
        frames: (T, H, W, 3) uint8 RGB, T >= 1, H and W even.
        fps: frames per second, nominal.

    Raises:
        DataError: the frames cannot be stored.
    """
    path = Path(path)
    _check_frames(path, frames, fps)
    with replacing(path) as partial, _written(path), av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        _set_up(stream.codec_context, frames.shape[2], frames.shape[1])
        convert = VideoReformatter()
        for frame in frames:
            container.mux(stream.encode(_as_picture(convert, frame)))
        container.mux(stream.encode())


def _set_up(context: Any, width: int, height: int) -> None:
    """The encoder's settings."""
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    # One thread: frames are small, recording runs in several processes, and the bytes do not depend on the machine.
    context.gop_size, context.max_b_frames, context.thread_count = KEYFRAME_INTERVAL, 0, 1
    # No macroblock tree: it spends fewer bits on what moves, and its AVX-512 code gave other bytes, once in fifty
    # videos, on a busy virtual machine. Without it two recordings of one seed are one recording.
    context.options = {"crf": str(CRF), "preset": "veryfast", "mbtree": "0", "rc-lookahead": "0"}


def _as_picture(convert: VideoReformatter, frame: FrameArray) -> av.VideoFrame:
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    return convert.reformat(picture, format="yuv420p", interpolation=EXACT_COLOURS)


class LiveVideo:
    """Frames as their recording would hold them, one by one: what was learnt from video looks at nothing else.

    Chroma at half resolution and the encoder's rounding change a frame by a level or two, but a target of three pixels
    by much more, and where one of a code's points lies entirely.
    """

    def __init__(self, fps: int) -> None:
        """Begin a video.

        Args:
            fps: of the recordings, nominal: the encoder spends its bits by it.
        """
        self._fps = fps
        self._encoder: Any = None
        self._decoder: Any = av.CodecContext.create("h264", "r")
        self._decoder.thread_count = 1
        self._convert = VideoReformatter()

    def pass_on(self, frame: FrameArray) -> FrameArray:
        """The frame (H, W, 3) uint8 RGB that a recording would give back.

        Raises:
            DataError: the frame cannot be stored.
        """
        if self._encoder is None:
            _check_frames(Path("live"), frame[None], self._fps)
            self._encoder = av.CodecContext.create("libx264", "w")
            self._encoder.time_base = Fraction(1, self._fps)
            _set_up(self._encoder, frame.shape[1], frame.shape[0])
            # The same bits, but none is held back.
            self._encoder.options = {**self._encoder.options, "tune": "zerolatency"}
        with _written(Path("live")):
            packets = self._encoder.encode(_as_picture(self._convert, frame))
            decoded = [picture for packet in packets for picture in self._decoder.decode(packet)]
        if len(decoded) != 1:
            raise DataError("this build of x264 holds frames back: LiveVideo cannot be used with it")
        picture = self._convert.reformat(decoded[0], format="rgb24", interpolation=EXACT_COLOURS)
        return np.asarray(picture.to_ndarray().astype(np.uint8, copy=False))

    def pass_all(self, frames: FrameArray) -> FrameArray:
        """The same of frames (T, H, W, 3) that follow one another."""
        return np.stack([self.pass_on(frame) for frame in frames])


def read_video(path: Path | str, start: int = 0, count: int | None = None) -> FrameArray:
    """Decode frames ``start`` to ``start + count`` (to the end if None).

    Returns:
        (n, H, W, 3) uint8 RGB.

    Raises:
        DataError: the file is missing, damaged or shorter than that; names it.
    """
    frames: list[FrameArray] = []
    convert = VideoReformatter()
    with _opened(path) as (container, stream):
        for frame in _decode_from(container, stream, start):
            if count is not None and len(frames) >= count:
                break
            if (frame.width, frame.height) != (stream.width, stream.height):
                raise DataError(f"{path}: damaged video: frames of several sizes; record it again")
            picture = convert.reformat(frame, format="rgb24", interpolation=EXACT_COLOURS)
            frames.append(picture.to_ndarray().astype(np.uint8, copy=False))
        header = stream.frames
    expected = header - start if count is None else count
    if len(frames) < expected or not frames:
        wanted = f"{start} and later" if count is None else f"{start} to {start + count - 1}"
        held = start + len(frames) if frames else header
        raise DataError(f"{path}: frames {wanted} were asked for, but the video holds {held}")
    return np.stack(frames)


def inspect_video(path: Path | str) -> VideoInfo:
    """Read the header only.

    Raises:
        DataError: the file is missing or damaged; names it.
    """
    with _opened(path) as (_, stream):
        return VideoInfo(stream.frames, stream.width, stream.height, Fraction(stream.average_rate or 0))


def frame_times(path: Path | str) -> Iterator[Fraction]:
    """Decode every frame, one at a time, and tell its time in seconds.

    Raises:
        DataError: the file is missing or damaged; names it.
    """
    with _opened(path) as (container, stream):
        for frame in container.decode(stream):
            yield frame.pts * stream.time_base


def join_videos(paths: Sequence[Path | str], output: Path | str) -> None:
    """Append videos of one size and rate by copying their packets: nothing is encoded anew, timestamps stay exact.

    Raises:
        DataError: a video is missing, damaged or encoded unlike the first; names it.
    """
    if not paths:
        raise DataError(f"{output}: no videos to join")
    output = Path(output)
    with replacing(output) as partial, _written(output), av.open(str(partial), "w", format="mp4") as container:
        with _opened(paths[0]) as (_, first):
            joined = container.add_stream_from_template(first)
            joined.time_base = first.time_base
            expected = _encoding(first)
        offset = 0
        for path in paths:
            with _opened(path) as (source, stream):
                if _encoding(stream) != expected:
                    raise DataError(f"{path}: encoded unlike {paths[0]}: it cannot be joined without encoding it anew")
                ticks = int(1 / (stream.average_rate * stream.time_base))
                packets = 0
                for packet in source.demux(stream):
                    if packet.pts is None:  # PyAV ends with an empty packet
                        continue
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    packet.duration, packet.stream = ticks, joined
                    container.mux(packet)
                    packets += 1
                if packets != stream.frames:
                    raise DataError(f"{path}: its header promises {stream.frames} frames, it holds {packets}")
                offset += packets * ticks


def _encoding(stream: Any) -> tuple[Any, ...]:
    """What must agree for packets of two files to share one stream."""
    return stream.width, stream.height, stream.average_rate, stream.time_base, bytes(stream.codec_context.extradata)


def _decode_from(container: Any, stream: Any, start: int) -> Iterator[Any]:
    """Decoded frames from frame ``start`` on."""
    first = round(start / (stream.average_rate * stream.time_base))
    if start:
        container.seek(first, stream=stream, backward=True)
    for frame in container.decode(stream):
        if frame.pts >= first:
            yield frame


def _check_frames(path: Path, frames: FrameArray, fps: int) -> None:
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise DataError(f"{path}: frames must be (T, H, W, 3) uint8 with T >= 1, not {frames.shape} {frames.dtype}")
    if frames.shape[1] % 2 or frames.shape[2] % 2:
        raise DataError(f"{path}: h264 needs an even width and height, not {frames.shape[2]} x {frames.shape[1]}")
    if fps < 1:
        raise DataError(f"{path}: {fps} frames per second; it needs at least 1")


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Turn every way in which writing a video fails into a DataError that names the file; a full disk stays one."""
    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise DataError(f"{path}: cannot be written as video ({error})") from error


@contextmanager
def _opened(path: Path | str) -> Iterator[tuple[Any, Any]]:
    """Open a video for reading; turn every way in which that fails into a DataError that names the file."""
    if not Path(path).is_file():
        raise DataError(f"{path}: no such video")
    try:
        # Named, not guessed: among the formats that FFmpeg would try are lists that make it open other files.
        with av.open(str(path), format="mp4") as container:
            if not container.streams.video:
                raise DataError(f"{path}: damaged video: it has no picture")
            stream = container.streams.video[0]
            _check_stream(path, stream)
            stream.codec_context.options = {"err_detect": "explode"}  # else the decoder paints over what is damaged
            yield container, stream
    except (av.error.FFmpegError, ArithmeticError, TypeError, ValueError, AttributeError) as error:
        # What a damaged header leaves empty is met as a missing rate or time later on.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: damaged video ({reason}); record it again") from error


def _check_stream(path: Path | str, stream: Any) -> None:
    """Refuse another codec than ours, and pictures that would take a gigabyte each."""
    codec = stream.codec_context.name
    if codec != "h264":
        raise DataError(f"{path}: damaged video: {codec} instead of h264; record it again")
    if not (1 <= stream.width <= MAX_SIDE and 1 <= stream.height <= MAX_SIDE and stream.average_rate):
        raise DataError(f"{path}: damaged video: {stream.width} x {stream.height} pixels; record it again")
