from dataclasses import replace

import numpy as np
import pytest
import torch

from wm_gym.data.segments import Windows
from wm_gym.errors import ConfigError
from wm_gym.files import write_json
from wm_gym.models.camera_world import CameraWorld, CameraWorldConfig
from wm_gym.models.fitting import FitConfig, fit
from wm_gym.models.frame_coder import as_pictures
from wm_gym.models.members import MEAN, deal_rows, draw_members, show_member
from wm_gym.models.open_loop import after_context, play_open_loop
from wm_gym.models.trained import empty_world
from wm_gym.types import CameraSpec, Observation, Segment

SMALL = CameraWorldConfig(
    size=3,
    points=1,
    channels=(4, 8),
    memory=8,
    members=3,
    width=24,
    layers=2,
    judge_width=16,
    judge_layers=2,
    context=4,
)


def embedded(episode):
    """The episode with three numbers that bend with the dot's place in the place of a coder's."""
    x = episode.observations[:, :1]
    return replace(episode, observations=np.concatenate([np.sin(2 * x), np.cos(2 * x), np.sin(4 * x)], 1), frames={})


@pytest.fixture
def world(moving_dot):
    torch.manual_seed(0)
    model = CameraWorld(moving_dot.task, SMALL)
    model.fit_scales([embedded(moving_dot.episode(seed)) for seed in range(20)])
    return model.eval().requires_grad_(False)


def pictures(moving_dot, *places):
    return Observation(frames={"eye": as_pictures(torch.from_numpy(moving_dot.frames(np.array(places))))[0]})


def test_the_verbs_keep_their_shapes_and_rows_apart(world, moving_dot):
    noise = torch.tensor([[0.1], [0.5], [0.9]])
    action = torch.tensor([[0.3], [-0.2], [0.0]])

    def run(rows):
        observation = Observation(frames={"eye": pictures(moving_dot, -0.5, 0.0, 0.5).frames["eye"][rows]})
        latent = world.observe(None, None, world.encode(observation), noise[rows])
        latent = world.observe(latent, action[rows], world.encode(observation))
        latent = world.imagine(latent, action[rows], noise[rows])
        prediction = world.predict(latent)
        picture = world.draw(latent)["eye"]
        return [world.vector(latent), world.features(latent, prediction), prediction.reward, prediction.spread, picture]

    together, alone = run(torch.arange(3)), run(torch.tensor([1]))
    assert [tuple(value.shape) for value in together] == [(3, 11), (3, 3), (3,), (3,), (3, 3, 16, 16)]
    for whole, part in zip(together, alone, strict=True):
        assert torch.allclose(whole[1], part[0], atol=1e-5)
    assert together[-1].min() >= 0 and together[-1].max() <= 1


def test_a_code_that_differs_by_less_than_its_coder_tells_apart_is_held_still(moving_dot):
    def with_a_still_row(seed):
        episode = embedded(moving_dot.episode(seed))
        row = np.random.default_rng(seed).normal(3.0, 0.01, (len(episode) + 1, 1))
        observations = np.concatenate([episode.observations[:, :1], row, episode.observations[:, 1:2]], 1)
        return replace(episode, observations=observations.astype(np.float32))

    model = CameraWorld(moving_dot.task, SMALL)
    model.fit_scales([with_a_still_row(seed) for seed in range(20)])
    assert model.normalizer.moving.tolist() == [True, False, True]
    assert model.normalizer.std[1].item() == pytest.approx(0.1), "the noise that points are learnt with"
    embedding = torch.tensor([[0.5, 3.02, 0.1]])
    latent = model.imagine(model.observe(None, None, embedding), torch.tensor([[0.3]]), torch.tensor([[0.5]]))
    assert latent["appearance"][0, :, 1].tolist() == pytest.approx([3.02] * SMALL.members)


def test_members_agree_where_something_was_observed_and_part_where_nothing_is(world):
    latent = world.observe(None, None, torch.zeros(4, 3))
    assert torch.equal(latent["spread"], torch.zeros(4))
    action = torch.ones(4, 1)
    latent = world.imagine(latent, action)
    assert (latent["spread"] > 0).all()
    seen = world.observe(latent, action, torch.ones(4, 3))
    assert torch.equal(seen["appearance"], torch.ones(4, 3, 3))
    assert torch.equal(seen["spread"], torch.zeros(4))


def test_a_sensor_that_was_not_observed_is_imagined(world):
    latent = world.observe(None, None, torch.zeros(2, 3))
    action = torch.full((2, 1), 0.5)
    imagined = world.imagine(latent, action)["appearance"].mean(1)
    half = world.observe(latent, action, torch.tensor([[0.7, torch.nan, torch.nan], [torch.nan] * 3]))
    shown = half["appearance"][:, 0]
    assert shown[0, 0] == pytest.approx(0.7)
    assert torch.allclose(shown[0, 1:], imagined[0, 1:]) and torch.allclose(shown[1], imagined[1])
    first = world.observe(None, None, torch.tensor([[torch.nan, 0.2, 0.3]]))["appearance"][0, 0]
    assert first.tolist() == pytest.approx([world.normalizer.mean[0].item(), 0.2, 0.3])


def test_a_vector_of_a_filtered_state_recovers_it(world):
    latent = world.observe(None, None, torch.tensor([[0.3, 0.8, -0.5], [0.1, 0.2, 0.3]]))
    latent = world.observe(latent, torch.tensor([[0.4], [-0.7]]), torch.tensor([[0.2, 0.9, -0.4], [0.0, 0.1, 0.2]]))
    found = world.recover(world.vector(latent), torch.tensor([[0.1], [0.99]]))
    assert found["member"].tolist() == [0, SMALL.members - 1]
    for name in ("appearance", "memory"):
        assert torch.allclose(found[name], latent[name], atol=1e-6)
    assert world.recover(world.vector(latent))["member"].tolist() == [MEAN, MEAN]


def test_a_row_keeps_the_member_that_it_has_drawn(world):
    latent = world.observe(None, None, torch.zeros(3, 3), torch.tensor([[0.0], [0.4], [0.99]]))
    assert latent["member"].tolist() == [0, 1, 2]
    latent = world.imagine(latent, torch.ones(3, 1))
    shown = world.features(latent, world.predict(latent))
    assert torch.equal(shown, latent["appearance"][torch.arange(3), torch.arange(3)])
    assert world.choose(latent, None)["member"].tolist() == [MEAN] * 3


def test_members_and_rows():
    values = torch.arange(12.0).view(3, 4, 1)
    assert show_member(values, torch.tensor([0, 3, MEAN]))[:, 0].tolist() == [0.0, 7.0, 9.5]
    assert deal_rows(5, 2, torch.device("cpu")).tolist() == [[0, 1, 2], [3, 4, 0]]
    assert draw_members(None, 2, 4, torch.device("cpu")).tolist() == [MEAN, MEAN]


def test_it_learns_to_see_a_velocity_and_to_imagine_with_it(moving_dot):
    torch.manual_seed(0)
    model = CameraWorld(moving_dot.task, SMALL)
    episodes = [embedded(moving_dot.episode(seed)) for seed in range(80)]
    model.fit_scales(episodes[:60])
    model.coders.requires_grad_(False)
    held_out = next(Windows(episodes[60:], 12).all(stride=5))
    windows = Windows(episodes[:60], 12, share_of_beginnings=0.25)
    plan = FitConfig(
        updates=250, batch_size=48, horizons=(1, 2, 4, 8), learning_rate=5e-3, evaluate_every=125, ema=0.95
    )
    fit(model, windows, held_out, plan, seed=0)
    imagined, spread = play_open_loop(model, held_out)
    truth, mask = after_context(model, held_out)
    assert imagined.shape == truth.shape == (len(mask), 8, 3)
    still = held_out.observations[:, 4:5].expand_as(truth)
    whole = mask[:, -1] > 0
    error, naive = ((value - truth)[whole, -1].square().sum(-1).sqrt().median().item() for value in (imagined, still))
    assert error < 0.35 * naive, (error, naive)
    assert spread[whole].mean(0)[-1] > spread[whole].mean(0)[0]


def test_a_rollout_from_amid_an_episode_counts_only_after_its_context(world, moving_dot):
    (segment,) = Windows([embedded(moving_dot.episode(0))], 8).all(stride=1)
    rows = torch.tensor([0, 5, 6])  # as many as members, so that each has one
    cut = {name: getattr(segment, name)[rows] for name in ("observations", "actions", "rewards", "terminations")}
    only = Segment(**cut, mask=segment.mask[rows], begins=segment.begins[rows])
    assert only.begins.tolist() == [1, 0, 0]
    spoilt = only.observations.clone()
    spoilt[1:, 1:5] += 100.0  # the first four steps of the two windows that begin amid the episode, as targets

    def appearance(observations):
        # Rollouts from the later start, after the context, are left out: their steps are not recorded.
        return world.loss(replace(only, observations=observations, mask=only.mask * _first(4)), 4).parts["appearance"]

    assert torch.allclose(appearance(only.observations), appearance(spoilt))
    assert not torch.allclose(
        appearance(only.observations),
        world.loss(replace(only, mask=only.mask * _first(4), begins=None), 4).parts["appearance"],
    )


def _first(steps):
    return (torch.arange(8) < steps).float()


def test_holes_in_a_window_ask_for_nothing_and_spoil_nothing(moving_dot):
    torch.manual_seed(0)
    model = CameraWorld(moving_dot.task, SMALL)
    model.fit_scales([embedded(moving_dot.episode(seed)) for seed in range(20)])
    (segment,) = Windows([embedded(moving_dot.episode(0))], 8).all(stride=3)
    holed = segment.observations.clone()
    holed[:, :, 1] = torch.nan
    loss = model.loss(replace(segment, observations=holed), 4)
    loss.total.backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert torch.isfinite(loss.total) and all(torch.isfinite(grad).all() for grad in grads)


def test_two_cameras_of_different_sizes_and_a_sensed_state(moving_dot):
    wide = CameraSpec("wide", width=32, height=16)
    task = replace(moving_dot.task, cameras=(moving_dot.camera, wide))
    model = CameraWorld(task, replace(SMALL, proprioception=True)).eval()
    assert model.obs_types == ("image", "state", "latent") and model.embedding_size == 8
    observation = Observation(torch.rand(2, 2), {"wide": torch.rand(2, 3, 16, 32)})
    embedding = model.encode(observation)
    assert embedding.isnan().tolist() == [[True] * 3 + [False] * 5] * 2
    latent = model.observe(None, None, embedding)
    assert {name: tuple(value.shape[2:]) for name, value in model.draw(latent).items()} == {
        "eye": (16, 16),
        "wide": (16, 32),
    }
    assert torch.allclose(model.predict(latent).state, observation.state)


def test_settings_that_cannot_be(moving_dot):
    with pytest.raises(ConfigError, match="camera 'side' does not exist: moving_dot recorded eye"):
        CameraWorld(moving_dot.task, replace(SMALL, cameras=("side",)))
    with pytest.raises(ConfigError, match="records no camera"):
        CameraWorld(replace(moving_dot.task, cameras=()), SMALL)
    with pytest.raises(ConfigError, match="members=1"):
        CameraWorld(moving_dot.task, replace(SMALL, members=1))
    with pytest.raises(ConfigError, match="window=-1"):
        CameraWorld(moving_dot.task, replace(SMALL, window=-1))


def test_a_file_of_before_points_were_averaged_keeps_its_points(world, tmp_path):
    plain = {"family": "camera", "model": world.config(), "task": world.task.to_dict()}
    write_json(tmp_path / "config.json", plain)
    assert empty_world(tmp_path).shape.window == world.shape.window > 0
    del plain["model"]["window"]
    write_json(tmp_path / "config.json", plain)
    assert empty_world(tmp_path).shape.window == 0
