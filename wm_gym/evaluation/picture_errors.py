"""How far pictures are from the true ones, looked at only where something moves.

A still background makes any prediction look good: on Reacher 95 % of the pixels never change.
"""

from __future__ import annotations

import cv2
import numpy as np

from wm_gym.types import BoolArray, FloatArray, FrameArray

_MOVES = 25  # levels of 255 between the darkest and the brightest that a pixel becomes
_WINDOW = (7, 7)  # pixels: the arm of a 64 x 64 frame is two pixels wide
_SIGMA = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def moving_region(frames: FrameArray) -> BoolArray:
    """Where true frames (T, H, W, 3) of one window change with time, and the pixels beside: (H, W)."""
    reach = np.ptp(frames.astype(np.int16), axis=0).max(-1)
    moving = cv2.dilate((reach > _MOVES).astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(moving, bool)


def psnr(shown: FrameArray, truth: FrameArray, region: BoolArray) -> FloatArray:
    """Peak signal-to-noise ratio (T,), dB, of frames (T, H, W, 3) inside a region (H, W)."""
    missed = (shown[:, region].astype(np.float64) - truth[:, region]) ** 2
    return np.asarray(10 * np.log10(255**2 / np.maximum(missed.mean((1, 2)), 1e-2)))


def ssim(shown: FrameArray, truth: FrameArray, region: BoolArray) -> FloatArray:
    """Structural similarity (T,) of the grey frames (T, H, W, 3) inside a region (H, W).

    Wang et al. 2004, "Image quality assessment", equation 13, with a Gaussian window of 7 pixels.
    """
    return np.array([_similarity(a, b)[region].mean() for a, b in zip(shown, truth, strict=True)])


def _similarity(shown: FrameArray, truth: FrameArray) -> FloatArray:
    x, y = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float64) for frame in (shown, truth))

    def blur(values: FloatArray) -> FloatArray:
        return np.asarray(cv2.GaussianBlur(values, _WINDOW, _SIGMA))

    mean_x, mean_y = blur(x), blur(y)
    variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    alike = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    return np.asarray(alike / ((mean_x**2 + mean_y**2 + _C1) * (variance_x + variance_y + _C2)))
