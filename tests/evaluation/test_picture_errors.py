import numpy as np
import pytest

from wm_gym.evaluation.picture_errors import moving_region, psnr, ssim


def square(*columns):
    """A white square of 4 pixels on black that stands at these columns, one after the other."""
    frames = np.zeros((len(columns), 16, 16, 3), np.uint8)
    for frame, column in zip(frames, columns, strict=True):
        frame[6:10, column : column + 4] = 255
    return frames


def test_only_what_moves_counts_and_what_lies_beside():
    region = moving_region(square(2, 4))
    assert region[6:10, 2:4].all() and region[6:10, 6:8].all() and not region[0].any() and not region[:, 12:].any()
    assert not moving_region(square(3, 3)).any()


def test_psnr_of_a_known_error():
    truth = square(2, 4)
    region = moving_region(truth)
    assert psnr(truth, truth, region).min() > 60
    shown = np.clip(truth.astype(int) + 51 * (truth == 0), 0, 255).astype(np.uint8)
    black = region[None, ..., None] & (truth == 0)
    expected = 10 * np.log10(255**2 / (51**2 * black[0].sum() / (3 * region.sum())))
    assert psnr(shown, truth, region)[0] == pytest.approx(expected)


def test_ssim_is_one_for_the_same_and_falls_with_distance():
    truth = square(4, 4, 4)
    region = moving_region(square(2, 8))
    near_and_far = ssim(square(4, 5, 9), truth, region)
    assert near_and_far[0] == pytest.approx(1.0)
    assert near_and_far[0] > near_and_far[1] > near_and_far[2]
