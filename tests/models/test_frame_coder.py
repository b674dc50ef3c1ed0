import numpy as np
import pytest
import torch

from wm_gym.models.augmentation import Augmentation, augment
from wm_gym.models.fitting import FitConfig, fit
from wm_gym.models.frame_coder import FrameCoder, FrameCoderConfig, FrameCoders, as_pictures, drawing_error
from wm_gym.types import CameraSpec, Segment

SMALL = FrameCoderConfig(size=3, points=1, channels=(8, 16))


def frames_segment(frames):
    """The reward is the dot's column, told by the frame's brightest one."""
    none, rows = torch.zeros(len(frames), 1), len(frames)
    column = torch.from_numpy(frames[:, 8, :, 0].argmax(1)).float()
    shown = {"eye": torch.from_numpy(frames)[:, None]}
    return Segment(torch.zeros(rows, 1, 0), none[..., None], column[:, None], none, none + 1, shown)


class Frames:
    """Draws single frames."""

    def __init__(self, frames):
        self.frames = frames

    def sample(self, batch_size, generator):
        return frames_segment(self.frames[torch.randint(len(self.frames), (batch_size,), generator=generator).numpy()])


def measured(camera, frames):
    coders = FrameCoders([camera], 1, SMALL)
    coders.measure({"eye": as_pictures(torch.from_numpy(frames))[0]}, np.arange(16))
    return coders


@pytest.mark.parametrize(("width", "height"), [(16, 16), (64, 64), (30, 18), (96, 64)])
def test_frames_of_any_size_come_back_at_their_size(width, height):
    coder = FrameCoder(CameraSpec("eye", width=width, height=height), SMALL)
    code = coder.encode(torch.rand(2, 3, height, width))
    assert code.shape == (2, 3)
    assert coder.decode(code).shape == (2, 3, height, width)


def test_a_row_does_not_depend_on_its_neighbours():
    coder = FrameCoder(CameraSpec("eye"), SMALL)
    frames = torch.rand(3, 3, 64, 64)
    assert torch.allclose(coder.encode(frames)[1], coder.encode(frames[1:2])[0], atol=1e-5)


def test_codes_of_a_moving_dot_draw_it_again(moving_dot):
    torch.manual_seed(0)
    frames = moving_dot.frames(np.linspace(-1, 1, 101))
    coders = measured(moving_dot.camera, frames)
    before = drawing_error(coders, frames_segment(frames)).item()
    fit(
        coders,
        Frames(frames[::2]),
        frames_segment(frames[1::2]),
        FitConfig(updates=300, batch_size=32, horizons=(0,), learning_rate=5e-3, evaluate_every=150, ema=0.9),
        seed=0,
        measure_error=drawing_error,
    )
    after = drawing_error(coders, frames_segment(frames[1::2])).item()
    assert before == pytest.approx(1.0, abs=0.3)  # nothing but the background is drawn
    assert after < 0.1
    pictures = as_pictures(torch.from_numpy(frames))[0]
    grainy = pictures + 0.02 * torch.randn(pictures.shape)
    with torch.no_grad():
        codes, moved = (coders.encode("eye", shown, 101, pictures.device) for shown in (pictures, grainy))
    column = codes.std(0).argmax()
    assert (moved - codes).std(0)[column] < 0.3 * codes.std(0)[column], "what a codec leaves behind moves no code"


def test_points_lie_where_something_is_and_draw_it_there():
    torch.manual_seed(0)
    coder = FrameCoder(CameraSpec("eye", width=32, height=32), FrameCoderConfig(size=7, points=3, channels=(4, 4)))
    pictures = torch.zeros(64, 3, 32, 32)
    for number, (row, column) in enumerate(torch.randint(4, 28, (64, 2)).tolist()):
        pictures[number, 0, row, column] = 1.0  # one red pixel, which no mean square over the frame would notice
    coder.measure(pictures)
    codes = coder.encode(pictures)[:, : 2 * coder.points].detach()
    place = pictures[:, 0].flatten(1).argmax(1)
    for numbers, truth in ((codes[:, :3], place % 32), (codes[:, 3:], place // 32)):
        moving = numbers[:, numbers.std(0) > 0.1]  # points of colours that are not there stay amid the frame
        told = [abs(np.corrcoef(moving[:, point], truth)[0, 1]) for point in range(moving.shape[1])]
        assert max(told) > 0.99, "one point begins at the brightest pixel of some colour"
    blobs = coder._blobs(torch.tensor([[-10.0, 0.0, 10.0, 10.0, 0.0, -10.0]]), 9, 9)[0]
    assert [divmod(int(blob.argmax()), 9) for blob in blobs] == [(8, 0), (4, 4), (0, 8)]
    assert blobs.amax((1, 2)).tolist() == pytest.approx([1.0, 1.0, 1.0])


def _bar_at(place):
    """A bright bar, four pixels wide with smooth edges, on black: (3, 64, 64)."""
    columns = torch.arange(64.0)
    covered = (torch.minimum(columns + 1, place + 2) - torch.maximum(columns, place - 2)).clamp(0, 1)
    frame = torch.zeros(3, 64, 64)
    frame[:, 30:34] = covered
    return frame


def test_a_point_follows_what_moves_by_less_than_a_pixel():
    places = torch.linspace(20, 40, 161)
    frames = torch.stack([_bar_at(place) for place in places])
    missed = {}
    for window in (0.0, 1.5):
        torch.manual_seed(0)
        coder = FrameCoder(CameraSpec("eye"), FrameCoderConfig(window=window))
        coder.measure(frames)
        with torch.no_grad():
            columns = coder.encode(frames)[:, : coder.points] * 32 / 10 + 32  # pixels
        apart = (columns - places.unsqueeze(-1))[32:-32]  # at its ends the background differs
        missed[window] = (apart - apart.mean(0)).std(0).min().item()  # of the point that follows it best
    assert missed[1.5] < 0.2, missed
    assert missed[0.0] > 0.5, "the strongest cell alone jumps by two pixels"


def test_every_colour_axis_counts_alike():
    coder = FrameCoder(CameraSpec("eye", width=16, height=16), SMALL)
    pictures = torch.rand(50, 3, 16, 16) * torch.tensor([0.5, 0.1, 0.1]).view(3, 1, 1)
    coder.measure(pictures)
    assert coder.whiten(pictures - coder.background).std((0, 2, 3)).tolist() == pytest.approx(
        [0.88, 0.88, 1.0], abs=0.03
    )
    assert torch.allclose(coder.unwhitening @ coder.whitening, torch.eye(3), atol=1e-5)
    assert coder.error(coder.background.expand(50, -1, -1, -1), pictures).mean() == pytest.approx(1.0, abs=1e-3)


def test_an_interrupted_fit_goes_on_to_the_same_weights(moving_dot, tmp_path):
    frames = moving_dot.frames(np.linspace(-1, 1, 40))

    def run(*stops):
        torch.manual_seed(0)
        coders = measured(moving_dot.camera, frames)
        coders.augmentation = Augmentation(share=0.5)
        for stop in stops:
            plan = FitConfig(updates=6, batch_size=8, horizons=(0,), evaluate_every=3)
            source, held_out = Frames(frames), frames_segment(frames)
            path = tmp_path / f"{len(stops)}.safetensors"

            def interrupt(update, stop=stop):
                if update == stop:
                    raise KeyboardInterrupt

            try:
                fit(coders, source, held_out, plan, 0, path, interrupt, measure_error=drawing_error)
            except KeyboardInterrupt:
                torch.manual_seed(1)
                coders = measured(moving_dot.camera, frames)
                coders.augmentation = Augmentation(share=0.5)
        return coders.state_dict()

    whole, broken = run(99), run(4, 99)
    assert all(torch.equal(whole[name], broken[name]) for name in whole if name != "coders.0.background")


def test_a_black_frame_was_not_recorded_and_asks_for_nothing(moving_dot):
    frames = moving_dot.frames(np.linspace(-1, 1, 8))
    coders = measured(moving_dot.camera, frames)
    with_black = np.concatenate([frames, np.zeros_like(frames)])
    assert torch.equal(as_pictures(torch.from_numpy(with_black))[1], torch.tensor([1.0] * 8 + [0.0] * 8))
    one, other = drawing_error(coders, frames_segment(frames)), drawing_error(coders, frames_segment(with_black))
    assert torch.allclose(one, other)


def test_a_camera_that_is_missing_has_no_code(moving_dot):
    coders = FrameCoders([moving_dot.camera], 1, SMALL)
    assert coders.encode("eye", None, 4, torch.device("cpu")).isnan().all()


def test_augmentation_alters_its_share_and_keeps_the_order(moving_dot):
    frames = as_pictures(torch.from_numpy(moving_dot.frames(np.zeros(200))))[0]
    changed = augment(frames, Augmentation(share=0.5), torch.Generator().manual_seed(0))
    altered = (changed != frames).flatten(1).any(1)
    assert 70 < int(altered.sum()) < 130
    assert (changed - frames).abs().max() < 0.6
    assert augment(frames, Augmentation(), torch.Generator()) is frames


def test_a_shift_moves_the_dot_by_so_many_pixels(moving_dot):
    frames = as_pictures(torch.from_numpy(moving_dot.frames(np.zeros(50))))[0]
    only_shift = Augmentation(share=1.0, brightness=0, contrast=0, noise=0, shift=2.0)
    shifted = augment(frames, only_shift, torch.Generator().manual_seed(0))
    weight = (shifted[:, 0, 8] - shifted[:, 0, 8, :1]).clamp(min=0)
    column = (weight * torch.arange(16)).sum(-1) / weight.sum(-1)
    assert column.min() < 8 - 1.5 and column.max() > 8 + 1.5
    assert (column - 8).abs().max() < 2.3
