"""Physics, imagination and their difference side by side, with the step and the uncertainty, as a film and a strip."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from wm_gym.evaluation.film import encode_video, imagined_by, mark_imagined
from wm_gym.types import FloatArray, FrameArray

_SIDE = 240  # pixels of a panel
_INK, _PAPER = (235, 235, 235), (24, 26, 30)
_STILL = 120


def compare_frames(
    truth: FrameArray,
    imagined: FrameArray,
    uncertainty: FloatArray,
    frames_per_second: int,
    title: str,
    model_sha256: str,
) -> bytes:
    """An mp4 of one window; its metadata name the model.

    Args:
        truth: (T, h, w, 3) uint8.
        imagined: likewise.
        uncertainty: (T,) as ``info["uncertainty"]``.
        frames_per_second: of the robot's own clock.
        title: shown above.
        model_sha256: of the weights of the model that imagined.
    """
    pages = [
        _page(frame, drawn, f"{title}   step {step + 1} of {len(truth)}   uncertainty {doubt:.2f}")
        for step, (frame, drawn, doubt) in enumerate(zip(truth, imagined, uncertainty, strict=True))
    ]
    reel = [*pages, *[pages[-1]] * frames_per_second]
    return encode_video(reel, frames_per_second, imagined_by(model_sha256))


def strip(truth: FrameArray, imagined: FrameArray, steps: Sequence[int]) -> bytes:
    """A PNG of some moments (counted from 1): the physics above, the imagination below, and their difference."""
    columns = []
    for step in steps:
        panels = [truth[step - 1], imagined[step - 1], _difference(truth[step - 1], imagined[step - 1])]
        stills = [_enlarged(panel, _STILL) for panel in panels]
        mark_imagined(stills[1])
        columns.append(np.concatenate(stills))
    done, encoded = cv2.imencode(".png", np.concatenate(columns, axis=1)[..., ::-1])
    assert done, "PNG is always at hand in OpenCV"
    return bytes(encoded)


def _page(truth: FrameArray, imagined: FrameArray, words: str) -> FrameArray:
    panels = [_enlarged(panel, _SIDE) for panel in (truth, imagined, _difference(truth, imagined))]
    mark_imagined(panels[1])
    body = np.concatenate(panels, axis=1)
    head, foot = (np.full((28, body.shape[1], 3), _PAPER, np.uint8) for _ in range(2))
    for number, name in enumerate(("MuJoCo", "imagination", "difference")):
        _write(head, name, (number * panels[0].shape[1] + 8, 20))
    _write(foot, words, (8, 20))
    page = np.concatenate([head, body, foot])
    return np.ascontiguousarray(page[: len(page) // 2 * 2, : page.shape[1] // 2 * 2])


def _difference(truth: FrameArray, imagined: FrameArray) -> FrameArray:
    return np.asarray(cv2.absdiff(truth, np.ascontiguousarray(imagined)))


def _enlarged(frame: FrameArray, height: int) -> FrameArray:
    width = round(frame.shape[1] * height / frame.shape[0])
    return np.asarray(cv2.resize(np.ascontiguousarray(frame), (width, height), interpolation=cv2.INTER_NEAREST))


def _write(picture: FrameArray, text: str, place: tuple[int, int]) -> None:
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
