"""The moving dot, imagined by a world that is the dot itself: the figures of perfect pictures are known."""

import io
from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from wm_gym.errors import DataError
from wm_gym.evaluation.readout import Place
from wm_gym.evaluation.video import judge_effects, judge_permanence, judge_video, median_interval, video_table
from wm_gym.evaluation.video_film import compare_frames, strip
from wm_gym.evaluation.video_windows import cut_windows, draw_frames, imagine_steps, observe_context
from wm_gym.models.world_model import WorldModel
from wm_gym.types import LatentState, Prediction

PLACE = Place("dot", "cm", lambda episode: 100 * episode.observations[:, :1])
CONTEXT, HORIZON = 3, 14


def column(frames):
    """The place of the dot in frames (..., 16, 16, 3), in cm: where its brightness has its centre."""
    weight = np.clip(frames[..., 8, :, 0].astype(float) - 56, 0, None)
    return 100 * (((weight * np.arange(16)).sum(-1) / np.maximum(weight.sum(-1), 1e-9)) - 8)[..., None] / 5


class Reader:
    """A read-out without an error of its own."""

    places = staticmethod(column)


class DotWorld(WorldModel):
    """Sees the dot's place, takes its speed from the last two, and moves it as ``gain`` times its true push."""

    family, obs_types, noise_size, context = "dot", ("image",), 1, CONTEXT

    def __init__(self, moving_dot, gain=1.0):
        super().__init__(moving_dot.task)
        self.dot, self.gain, self.cameras = moving_dot, gain, moving_dot.task.cameras

    def encode(self, observation):
        frames = (255 * observation.frames["eye"]).permute(0, 2, 3, 1).round().numpy()
        return torch.from_numpy(column(frames) / 100).float()

    def observe(self, latent, action, embedding, noise=None):
        before = embedding if latent is None else latent["x"]
        return LatentState({"x": embedding, "v": embedding - before, "spread": torch.zeros(len(embedding))})

    def choose(self, latent, noise):
        return latent

    def imagine(self, latent, action, noise=None):
        v = 0.9 * latent["v"] + 0.1 * self.gain * action
        return LatentState({"x": latent["x"] + v, "v": v, "spread": torch.zeros(len(v))})

    def predict(self, latent):
        return Prediction(torch.zeros(len(latent)), torch.ones(len(latent)), latent["spread"])

    def draw(self, latent):
        frames = self.dot.frames(latent["x"][:, 0].numpy())
        return {"eye": torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255}

    def loss(self, segment, horizon):
        raise NotImplementedError

    def config(self):
        return {}


def gentle(moving_dot, seed):
    """An episode whose dot stays off the walls: it starts in the middle and is pushed to and fro."""
    rng = np.random.default_rng(seed)
    x, v, rows = rng.uniform(-0.2, 0.2), 0.0, []
    actions = (0.25 * np.sign(np.sin(np.arange(20) / 2 + rng.uniform(0, 6))))[:, None].astype(np.float32)
    for step in range(21):
        rows.append((x, v))
        if step < 20:
            v = 0.9 * v + 0.1 * float(actions[step, 0])
            x += v
    states = np.array(rows, np.float32)
    recorded = replace(moving_dot.episode(seed), observations=states, actions=actions)
    film = {"eye": moving_dot.frames(states[:, 0])}
    return replace(recorded, frames=film, qpos=states[:, :1].astype(float), qvel=states[:, 1:].astype(float))


@pytest.fixture(scope="module")
def windows(moving_dot):
    return cut_windows([gentle(moving_dot, seed) for seed in range(6)], "eye", PLACE, CONTEXT, HORIZON, stride=3)


def test_windows_and_what_is_true_of_them(windows):
    assert windows.frames.shape == (12, 18, 16, 16, 3) and windows.truth.shape == (12, 14, 16, 16, 3)
    assert windows.origins.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5] and windows.horizon == 14
    assert np.allclose(windows.places[:, 3], 100 * windows.qpos)
    with pytest.raises(DataError, match="17 steps that are needed"):
        cut_windows([], "eye", PLACE, CONTEXT, HORIZON, 1)


def test_a_perfect_world_beats_both_guesses(moving_dot, windows):
    mean = np.full((16, 16, 3), 50, np.uint8)
    found = judge_video(DotWorld(moving_dot), "eye", windows, Reader, mean, seed=0)
    row = found["by_horizon"]["10"]
    assert row["true frames"]["position"]["value"] < 1.0
    assert row["imagination"]["position"]["value"] < 5.0 < row["last frame"]["position"]["value"]
    assert row["imagination"]["psnr"] > row["last frame"]["psnr"] + 3
    assert row["imagination"]["ssim"] > row["last frame"]["ssim"] > 0
    assert found["shuffled_action_gap"]["low"] > 0
    assert (found["windows"], found["episodes"]) == (12, 6)
    assert video_table(found, ["imagination"])[0].split()[-3:] == ["1", "5", "10"]


def test_effects_of_a_world_that_pushes_half_as_hard(moving_dot, windows):
    def physics(qpos, qvel, actions):
        x, v = qpos.copy(), qvel.copy()
        for action in actions:
            v = 0.9 * v + 0.1 * action
            x = x + v
        return 100 * x

    bounds = np.full(1, -0.4, np.float32), np.full(1, 0.4, np.float32)
    for gain in (1.0, 0.5):
        (effect,) = judge_effects(DotWorld(moving_dot, gain), "eye", windows, Reader, physics, bounds, steps=5)
        assert effect["ratio"] == pytest.approx(gain, abs=0.05) and effect["agreement"] == 1.0


def test_the_robot_is_known_again_after_the_camera_was_hidden(moving_dot, windows):
    found = judge_permanence(DotWorld(moving_dot, gain=0.0), "eye", windows, Reader, hidden=2, seed=0)
    assert found["hidden_steps"] == 2
    assert set(found) == {"hidden_steps", "before_look", "after_look", "never_hidden"}
    assert found["before_look"]["low"] <= found["before_look"]["value"] <= found["before_look"]["high"]


def test_an_interval_of_the_median_over_episodes():
    interval = median_interval(np.array([1.0, 1, 1, 9, 9, 9]), np.array([0, 0, 0, 1, 1, 1]), np.random.default_rng(0))
    assert (interval["value"], interval["low"], interval["high"]) == (5.0, 1.0, 9.0)


def test_a_film_and_a_strip(moving_dot, windows):
    world = DotWorld(moving_dot)
    latents = imagine_steps(world, observe_context(world, "eye", windows), windows.actions[:, CONTEXT:])
    drawn = draw_frames(world, "eye", latents)
    film = compare_frames(windows.truth[0], drawn[0], np.linspace(0, 1, HORIZON), 10, "dot", "abc123")
    with av.open(io.BytesIO(film)) as container:
        assert container.metadata["comment"] == "imagined by wm_gym model sha256 abc123"
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == HORIZON + 10 and shown[0].shape == (296, 720, 3)
    assert strip(windows.truth[0], drawn[0], (1, 5, 10))[:4] == b"\x89PNG"
