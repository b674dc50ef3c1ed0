import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from wm_gym.errors import RenderError
from wm_gym.physics.camera import Camera, StateRenderer, open_cameras, why_no_camera
from wm_gym.physics.tasks import get_physics_state, make_physics, physics_of, task_spec
from wm_gym.types import BoxSpec, CameraSpec, TaskSpec

needs_egl = pytest.mark.skipif(why_no_camera() is not None, reason=f"{why_no_camera()}")


@pytest.fixture(scope="module")
def reacher():
    spec = task_spec("reacher")
    env = make_physics(spec)
    env.reset(seed=0)
    return spec, env


def _played(name, steps=8):
    spec = task_spec(name)
    env = make_physics(spec)
    env.action_space.seed(0)
    observation, _ = env.reset(seed=3)
    for _ in range(steps):
        observation = env.step(env.action_space.sample())[0]
    return spec, env, observation


@needs_egl
def test_a_frame_has_the_size_of_its_camera_and_shows_the_arm(reacher):
    spec, env = reacher
    model = physics_of(env).model
    camera = Camera(model, replace(spec.cameras[0], width=48, height=32))
    straight = camera.draw(np.array([0.0, 0.0, -0.2, -0.2]))
    turned = camera.draw(np.array([np.pi, 0.0, -0.2, -0.2]))
    assert straight.shape == (32, 48, 3) and straight.dtype == np.uint8
    changed = np.abs(straight.astype(int) - turned).sum(axis=2) > 60
    rows, columns = np.nonzero(changed)
    assert abs(rows.mean() - 15.5) < 2  # seen from above, the arm swings along the middle row,
    assert columns.min() < 19 and columns.max() > 28  # from the right half to the left
    assert (straight[:, 24:].astype(int) - turned[:, 24:])[..., 2].min() != 0
    camera.close()
    with pytest.raises(RenderError, match="closed"):
        camera.draw(np.zeros(4))


@needs_egl
def test_equal_states_give_equal_frames_whatever_was_drawn_before(reacher):
    spec, env = reacher
    model, data = physics_of(env).model, physics_of(env).data
    before = get_physics_state(env)
    first, second = Camera(model, spec.cameras[0]), Camera(model, spec.cameras[0])
    second.draw(np.array([2.0, 1.0, 0.1, 0.1]))
    np.testing.assert_array_equal(first.render(data), second.draw(data.qpos))
    np.testing.assert_array_equal(before, get_physics_state(env))


@needs_egl
def test_several_cameras_share_a_canvas_without_mixing(reacher):
    spec, env = reacher
    model = physics_of(env).model
    side = CameraSpec("side", 40, 20, lookat=(0.0, 0.0, 0.0), distance=1.0, azimuth=90.0, elevation=-20.0)
    both = open_cameras(model, [spec.cameras[0], side])
    qpos = np.array([1.0, 1.0, 0.1, 0.1])
    for name, camera in both.items():
        alone = Camera(model, {"top": spec.cameras[0], "side": side}[name])
        np.testing.assert_array_equal(camera.draw(qpos), alone.draw(qpos))
    assert open_cameras(model, []) == {}


@needs_egl
def test_a_pixel_of_several_samples_is_their_mean(reacher):
    spec, env = reacher
    model, qpos = physics_of(env).model, np.array([0.4, 0.3, 0.1, 0.1])
    plain = replace(spec.cameras[0], samples=1)
    large = Camera(model, replace(plain, width=96, height=128)).draw(qpos)
    smooth = Camera(model, replace(plain, width=48, height=64, samples=2)).draw(qpos)
    assert smooth.shape == (64, 48, 3)
    means = large.reshape(64, 2, 48, 2, 3).mean((1, 3))
    np.testing.assert_allclose(smooth, means, atol=0.51)
    both = open_cameras(model, [plain, replace(plain, name="smooth", width=48, height=64, samples=2)])
    np.testing.assert_array_equal(both["smooth"].draw(qpos), smooth)


@needs_egl
@pytest.mark.parametrize("name", ["reacher", "hopper", "ant", "inverted_double_pendulum"])
def test_the_imagined_frame_of_a_state_is_its_physical_frame(name):
    """Up to the root's place over the floor, which the observation leaves out: physics is put there too."""
    spec, env, observation = _played(name)
    renderer = StateRenderer(spec, None, width=64, height=48)
    qpos = get_physics_state(env)[0]
    for index, entry in enumerate(spec.observation_map.qpos):
        if entry["kind"] == "constant":
            qpos[index] = entry["value"]
    imagined, physical = renderer.draw(observation), renderer.draw_qpos(qpos)
    assert imagined.shape == (48, 64, 3)
    assert imagined.std() > 5
    assert np.abs(imagined.astype(int) - physical).mean() < 0.01


@needs_egl
def test_the_camera_follows_a_robot_over_the_floor_and_sees_it_rise():
    renderer = StateRenderer(task_spec("hopper"), "side", width=64, height=64)
    here, far, up = (np.array([x, z, 0.0, 0.0, 0.0, 0.0]) for x, z in ((0.0, 1.25), (4.0, 1.25), (0.0, 1.6)))
    top = [renderer.draw_qpos(qpos)[:20].astype(int) for qpos in (here, far, up)]  # above the floor: only the robot
    assert np.abs(top[0] - top[1]).max() < 10
    assert np.abs(top[0] - top[2]).max() > 50


@needs_egl
def test_a_camera_that_does_not_exist_is_named(reacher):
    spec, env = reacher
    model = physics_of(env).model
    with pytest.raises(RenderError, match=r"no camera 'wrist' \(it has none\)"):
        Camera(model, CameraSpec("wrist", fixed="wrist"))
    with pytest.raises(RenderError, match=r"no body 'tail' \(it has world, body0"):
        Camera(model, CameraSpec("wrist", track_body="tail"))
    with pytest.raises(RenderError, match=r"camera 'wrist' does not exist \(one of top\)"):
        StateRenderer(spec, "wrist")
    with pytest.raises(RenderError, match="without a simulator"):
        StateRenderer(TaskSpec("arm", BoxSpec((), ()), BoxSpec((-1.0,), (1.0,)), 0.1, 10))


@pytest.mark.parametrize(
    ("environment", "words"),
    [({"PYOPENGL_PLATFORM": "glx"}, "apt-get install libegl1"), ({"MUJOCO_GL": "off"}, "unset MUJOCO_GL")],
)
def test_a_machine_that_cannot_draw_says_how_to_get_it(environment, words):
    program = "from wm_gym.physics.camera import why_no_camera; print(why_no_camera())"
    clean = {key: value for key, value in os.environ.items() if key not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    assert words in done.stdout and "works without a camera" in done.stdout
    assert done.stdout.count("\n") == 1


@needs_egl
def test_drawing_works_where_mujoco_was_imported_without_a_choice():
    """MuJoCo alone would have chosen its window toolkit by then."""
    program = (
        "import mujoco\nfrom wm_gym.physics.camera import StateRenderer\nfrom wm_gym.physics.tasks import task_spec\n"
        "print(StateRenderer(task_spec('reacher'), None, 16, 16).draw_qpos([0, 0, 0.1, 0.1]).std() > 0)"
    )
    clean = {key: value for key, value in os.environ.items() if key not in ("MUJOCO_GL", "DISPLAY")}
    done = subprocess.run([sys.executable, "-c", program], env=clean, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr
