"""Physics and imagination side by side, as an mp4 that a browser plays and a strip of stills that a printer prints."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import av
import cv2
import numpy as np

from wm_gym.types import Episode, FloatArray, FrameArray

Draw = Callable[[FloatArray], FrameArray]
"""Draws the robot at a raw observation (S,): (H, W, 3) uint8."""

# RGB; the same two colours mean the same two worlds in every figure of the report.
_PHYSICS, _IMAGINED = (86, 180, 233), (230, 159, 0)
_INK, _PAPER = (235, 235, 235), (24, 26, 30)
_HEADER, _BORDER, _GAP = 44, 4, 8
_HOLD_SECONDS = 0.8


@dataclass(frozen=True)
class Film:
    """Encoded pictures of the same starts in both worlds."""

    video: bytes
    """mp4, h264, yuv420p."""
    strip: bytes
    """JPEG: moments of the first pair, the physics above, the imagination below."""
    width: int
    height: int
    frames: int
    frames_per_second: int
    strip_steps: tuple[int, ...]
    """Steps shown in the strip."""


def make_film(
    pairs: Sequence[tuple[Episode, Episode]],
    draw: Draw,
    model_sha256: str,
    frames_per_second: int = 20,
    stills: int = 6,
) -> Film:
    """Film each pair of (physical, imagined) episodes, one pair after the other.

    An episode that ends earlier than its partner stays at its last frame, marked as ended. What was imagined says so
    inside its own picture, and the file says which model imagined it.

    Args:
        pairs: episodes of both worlds from the same starts.
        draw: draws the robot.
        model_sha256: of the weights of the model that imagined; empty where it was never saved.
        frames_per_second: of the film.
        stills: moments in the strip.
    """
    reel: list[FrameArray] = []
    strip: FrameArray | None = None
    moments: tuple[int, ...] = ()
    for number, (physical, imagined) in enumerate(pairs):
        left = [draw(row) for row in physical.observations]
        right = [draw(row) for row in imagined.observations]
        steps = max(len(left), len(right))
        for step in range(steps):
            title = f"start {number + 1}/{len(pairs)}"
            reel.append(_compose(left, right, physical, imagined, step, title))
        reel.extend([reel[-1]] * round(_HOLD_SECONDS * frames_per_second))
        if strip is None:
            moments = tuple(int(step) for step in np.linspace(0, steps - 1, min(stills, steps)).round())
            strip = _stills(left, right, moments)
    if strip is None:
        raise ValueError("a film needs at least one pair of episodes")
    height, width = reel[0].shape[:2]
    return Film(
        encode_video(reel, frames_per_second, imagined_by(model_sha256)),
        _encode_picture(strip),
        width,
        height,
        len(reel),
        frames_per_second,
        moments,
    )


def imagined_by(model_sha256: str) -> str:
    """The comment in the metadata of every film of imagined frames."""
    return f"imagined by wm_gym model sha256 {model_sha256 or '(never saved)'}"


def encode_video(frames: Sequence[FrameArray], frames_per_second: int, comment: str) -> bytes:
    """Encode (H, W, 3) uint8 frames of even size as h264 in an mp4 whose metadata holds the comment."""
    height, width = frames[0].shape[:2]
    target = io.BytesIO()
    with av.open(target, mode="w", format="mp4") as container:
        container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=frames_per_second, options={"crf": "24", "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_count = 1  # the same frames give the same bytes
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return target.getvalue()


def _compose(
    left: Sequence[FrameArray],
    right: Sequence[FrameArray],
    physical: Episode,
    imagined: Episode,
    step: int,
    title: str,
) -> FrameArray:
    """One frame: two panels with their names, the step and the reward earned so far."""
    halves = [
        _panel(left, physical, step, "MuJoCo", _PHYSICS),
        _panel(right, imagined, step, "imagined", _IMAGINED),
    ]
    height = halves[0].shape[0]
    gap = np.full((height, _GAP, 3), _PAPER, dtype=np.uint8)
    body = np.concatenate([halves[0], gap, halves[1]], axis=1)
    last = max(len(left), len(right)) - 1
    footer = np.full((26, body.shape[1], 3), _PAPER, dtype=np.uint8)
    _write(footer, f"step {step:d} of {last:d}", (6, 18), _INK, 0.45)
    _write(footer, title, (body.shape[1] - 90, 18), _INK, 0.45)
    framed = np.concatenate([body, footer], axis=0)
    return np.ascontiguousarray(framed[: framed.shape[0] // 2 * 2, : framed.shape[1] // 2 * 2])


def _panel(
    frames: Sequence[FrameArray], episode: Episode, step: int, name: str, colour: tuple[int, int, int]
) -> FrameArray:
    shown = min(step, len(frames) - 1)
    picture = frames[shown]
    header = np.full((_HEADER, picture.shape[1], 3), _PAPER, dtype=np.uint8)
    _write(header, name, (6, 28), colour, 0.7)
    earned = float(np.sum(episode.rewards[:shown], dtype=np.float64))
    _write(header, f"return {earned:.1f}", (picture.shape[1] - 128, 28), _INK, 0.5)
    body = picture.copy()
    cv2.rectangle(body, (0, 0), (body.shape[1] - 1, body.shape[0] - 1), colour, 2 * _BORDER)
    if colour == _IMAGINED:
        mark_imagined(body)
    if step >= len(frames):
        _write(body, "ended", (14, body.shape[0] - 16), colour, 0.6)
    return np.concatenate([header, body], axis=0)


def _stills(left: Sequence[FrameArray], right: Sequence[FrameArray], steps: Sequence[int]) -> FrameArray:
    """Two rows of pictures, one column for each step."""
    rows = []
    for frames, colour in ((left, _PHYSICS), (right, _IMAGINED)):
        pictures = []
        for step in steps:
            shown = frames[min(step, len(frames) - 1)]
            picture = cv2.resize(shown, (150, 150), interpolation=cv2.INTER_AREA).astype(np.uint8)
            cv2.rectangle(picture, (0, 0), (149, 149), colour, 4)
            if colour == _IMAGINED:
                mark_imagined(picture)
            pictures.append(picture)
        rows.append(np.concatenate(pictures, axis=1))
    return np.concatenate(rows, axis=0).astype(np.uint8)


def mark_imagined(picture: FrameArray) -> None:
    """Write what it is into an imagined picture itself: a frame that is cut out of the film keeps the mark."""
    right = picture.shape[1] - 2 * _BORDER
    cv2.rectangle(picture, (right - 70, 2 * _BORDER), (right, 2 * _BORDER + 18), _PAPER, cv2.FILLED)
    _write(picture, "imagined", (right - 66, 2 * _BORDER + 13), _IMAGINED, 0.45)


def _write(picture: FrameArray, text: str, place: tuple[int, int], colour: tuple[int, int, int], size: float) -> None:
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def _encode_picture(picture: FrameArray) -> bytes:
    done, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert done, "JPEG is always at hand in OpenCV"
    return bytes(encoded)
