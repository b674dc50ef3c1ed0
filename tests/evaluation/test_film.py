"""The film: playable, marked, and honest about an episode that ended."""

import io

import av
import cv2
import numpy as np
import pytest

from wm_gym.evaluation.film import make_film


def draw(observation):
    """A grey picture, brighter the further along the first number."""
    return np.full((64, 64, 3), np.clip(40 + 10 * observation[0], 0, 255), dtype=np.uint8)


@pytest.fixture
def film(world):
    line = np.arange(13.0)[:, None] * np.ones(2)
    return make_film([(world.make_episode(line), world.make_episode(line[:6]))] * 2, draw, "abc123", stills=4)


def test_a_browser_can_play_it(film):
    with av.open(io.BytesIO(film.video)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (film.width, film.height)
        frames = sum(1 for _ in container.decode(video=0))
    assert frames == film.frames == 2 * (13 + 16)
    assert film.width % 2 == film.height % 2 == 0


def test_what_was_imagined_says_so_and_by_which_model(film):
    with av.open(io.BytesIO(film.video)) as container:
        assert container.metadata["comment"] == "imagined by wm_gym model sha256 abc123"
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    left, right = picture[44:108, :64], picture[44:108, -64:]  # the two panels below their headers
    assert _orange(right) > 50 + _orange(left)  # the word and the border; the physics has a blue border
    strip = cv2.imdecode(np.frombuffer(film.strip, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    inside = slice(8, 26), slice(8, 142)
    assert _orange(strip[150:][inside]) > 20 and _orange(strip[:150][inside]) == 0


def _orange(picture):
    return int(((picture[..., 0] - picture[..., 2]) > 60).sum())


def test_strip_shows_both_worlds_at_the_same_steps(film):
    strip = cv2.imdecode(np.frombuffer(film.strip, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert film.strip_steps == (0, 4, 8, 12)
    assert strip.shape == (300, 600)
    # At step 12 the physics is at 12, the imagination ended at 5 and stays there.
    assert strip[75, 525] == pytest.approx(160, abs=3)
    assert strip[225, 525] == pytest.approx(90, abs=3)


def test_nothing_to_show_is_an_error():
    with pytest.raises(ValueError, match="at least one pair"):
        make_film([], draw, "")
