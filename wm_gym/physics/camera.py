"""Frames of a robot, drawn off screen without a display: while it is recorded, and of an imagined state.

A frame is always drawn from qpos: the robot is placed and drawn, nothing of the running simulation is read or touched.
(MuJoCo's own body positions right after a step are one physics step old.) So the frame of a recorded state and the
frame of the same state imagined agree to the last pixel.
"""

from __future__ import annotations

import copy
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np

from wm_gym.errors import RenderError
from wm_gym.physics.observation_map import qpos_from_observation
from wm_gym.physics.tasks import make_physics, physics_of, standard_camera
from wm_gym.types import CameraSpec, FloatArray, FrameArray, TaskSpec

WITHOUT = "everything on state observations works without a camera"
INSTALL = "on Debian and Ubuntu: apt-get install libegl1"
MAX_GEOMS = 2000
FAST_OFF = ("mjRND_SHADOW", "mjRND_REFLECTION", "mjRND_SKYBOX", "mjRND_HAZE")


class Canvas:
    """One OpenGL context with one robot's meshes and textures loaded; the cameras of a robot share it.

    Args:
        model: the robot. It is copied: the quality settings of the drawing do not reach the simulation.
        width: of the largest frame, pixels.
        height: likewise.
        fine: smooth edges, shadows and sky for a viewer; otherwise what draws fastest.

    Raises:
        RenderError: this machine cannot draw off screen.
    """

    def __init__(self, model: mujoco.MjModel, width: int, height: int, fine: bool = False) -> None:
        self.model = copy.copy(model)
        self.model.vis.quality.offsamples = 4 if fine else 0
        self.model.vis.quality.shadowsize = 2048 if fine else 0
        self.model.vis.global_.offwidth, self.model.vis.global_.offheight = width, height
        self.data = mujoco.MjData(self.model)
        self.scene = mujoco.MjvScene(self.model, maxgeom=MAX_GEOMS)
        self.option = mujoco.MjvOption()
        if not fine:
            for flag in FAST_OFF:
                self.scene.flags[getattr(mujoco.mjtRndFlag, flag)] = False
        self._context: mujoco.MjrContext | None = None
        self._gl = _open_context(width, height)
        self._gl.make_current()
        try:
            self._context = mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        except mujoco.FatalError as error:  # a context without the functions that MuJoCo draws with
            raise RenderError(f"no off-screen drawing here ({error}); {INSTALL}; {WITHOUT}") from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)

    def place(self, qpos: FloatArray) -> None:
        """Put the robot, its cameras and its lights where qpos (nq,) says."""
        self.data.qpos[:] = qpos
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        mujoco.mj_tendon(self.model, self.data)

    def draw(self, view: mujoco.MjvCamera, width: int, height: int) -> FrameArray:
        """The (H, W, 3) uint8 frame of a placed robot."""
        if self._context is None:
            raise RenderError("this camera was closed")
        category = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self.model, self.data, self.option, None, view, category, self.scene)
        self._gl.make_current()
        area = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(area, self.scene, self._context)
        frame = np.empty((height, width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(frame, None, area, self._context)
        return np.ascontiguousarray(frame[::-1])  # OpenGL's first row is the lowest

    def close(self) -> None:
        """Free what lies on the graphics side. Safe to call twice."""
        if self._context is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
            self._context = None

    def __del__(self) -> None:
        with suppress(Exception):  # an interpreter that is shutting down has freed the context already
            self.close()


class Camera:
    """One camera on a robot: ``render(data)`` or ``draw(qpos)`` -> (H, W, 3) uint8.

    Args:
        model: the robot.
        spec: where it looks from. A free camera with ``track_body`` follows that body over the floor: ``lookat`` is
            then an offset from it in x and y, and a constant height in z, so that a jump or a fall is seen.
        canvas: shared with other cameras of the same robot; None for one of its own.
        fine: see :class:`Canvas`.

    Raises:
        RenderError: this machine cannot draw off screen, or the robot has no such camera or body.
    """

    def __init__(
        self, model: mujoco.MjModel, spec: CameraSpec, canvas: Canvas | None = None, fine: bool = False
    ) -> None:
        self.spec = spec
        self._view, self._body = _view(model, spec)
        self._offset = tuple(self._view.lookat)
        self._canvas = canvas or Canvas(model, *spec.drawn_size, fine)

    def draw(self, qpos: FloatArray) -> FrameArray:
        """The robot at qpos (nq,)."""
        self._canvas.place(qpos)
        if self._body is not None:
            here = self._canvas.data.xpos[self._body]
            self._view.lookat[:] = (here[0] + self._offset[0], here[1] + self._offset[1], self._offset[2])
        drawn = self._canvas.draw(self._view, *self.spec.drawn_size)
        return drawn if self.spec.samples == 1 else _average(drawn, self.spec.samples)

    def render(self, data: mujoco.MjData) -> FrameArray:
        """The robot of a running simulation; its ``data`` is only read."""
        return self.draw(data.qpos)

    def close(self) -> None:
        """Free the canvas, and with it every camera that shares it."""
        self._canvas.close()


def open_cameras(model: mujoco.MjModel, specs: Sequence[CameraSpec], fine: bool = False) -> dict[str, Camera]:
    """All cameras of a robot on one canvas, by name."""
    if not specs:
        return {}
    widths, heights = zip(*(spec.drawn_size for spec in specs), strict=True)
    canvas = Canvas(model, max(widths), max(heights), fine)
    return {spec.name: Camera(model, spec, canvas) for spec in specs}


class StateRenderer:
    """Draws a state observation, imagined or recorded, with the robot's own MuJoCo model.

    Args:
        task: tells the robot and how its joints are observed.
        camera: one of the task's cameras; None for the first, or the robot's standard view where none was recorded.
        width: of the frames, pixels.
        height: likewise.

    Raises:
        RenderError: no such camera, no simulator of this task, or this machine cannot draw off screen.
    """

    def __init__(self, task: TaskSpec, camera: str | None = None, width: int = 480, height: int = 480) -> None:
        if task.env_id is None:
            raise RenderError(f"task {task.name!r} was recorded without a simulator: there is no robot model to draw")
        env = make_physics(task)
        model = physics_of(env).model
        env.close()
        known = {spec.name: spec for spec in task.cameras or (standard_camera(task, model),)}
        if camera is not None and camera not in known:
            raise RenderError(f"camera {camera!r} does not exist (one of {', '.join(known)})")
        spec = known[camera] if camera is not None else next(iter(known.values()))
        self._map = task.observation_map
        self._camera = Camera(model, replace(spec, width=width, height=height, samples=1), fine=True)

    def draw(self, observation: FloatArray) -> FrameArray:
        """The (H, W, 3) uint8 frame of a state observation (S,)."""
        return self.draw_qpos(qpos_from_observation(self._map, observation))

    def draw_qpos(self, qpos: FloatArray) -> FrameArray:
        """The frame of a physical state qpos (nq,)."""
        return self._camera.draw(qpos)

    def close(self) -> None:
        """Free what lies on the graphics side."""
        self._camera.close()


def why_no_camera() -> str | None:
    """None where this machine can draw off screen, else one line that says why not and how to get it."""
    try:
        _open_context(16, 16).free()
    except RenderError as error:
        return str(error)
    return None


def _open_context(width: int, height: int) -> Any:
    """An OpenGL context without a window. ``MUJOCO_GL`` chooses its kind; unset on Linux, it is EGL."""
    if sys.platform == "linux":
        os.environ.setdefault("MUJOCO_GL", "egl")
    kind = os.environ.get("MUJOCO_GL", "").lower()
    # MuJoCo looks at MUJOCO_GL only when it is imported, which may be long past: EGL is taken from where it lives.
    module = f"mujoco.{kind}" if kind in ("egl", "osmesa") else "mujoco"
    try:
        return importlib.import_module(module).GLContext(width, height)
    except Exception as error:  # no narrower: PyOpenGL's own classes cannot be imported where EGL is missing
        remedy = INSTALL if kind == "egl" else "unset MUJOCO_GL"
        reason = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
        raise RenderError(f"no off-screen drawing here (MUJOCO_GL={kind}: {reason}); {remedy}; {WITHOUT}") from error


def _average(frame: FrameArray, samples: int) -> FrameArray:
    """The means, rounded, of squares of pixels (H s, W s, 3) -> (H, W, 3)."""
    height, width, _ = frame.shape
    sums = np.zeros((height // samples, width // samples, 3), np.uint16)  # several times as fast as a mean over axes
    for row in range(samples):
        for column in range(samples):
            sums += frame[row::samples, column::samples]
    return np.asarray(np.round(sums / samples**2), np.uint8)


def _view(model: mujoco.MjModel, spec: CameraSpec) -> tuple[mujoco.MjvCamera, int | None]:
    """MuJoCo's camera of a spec, and the body that it follows."""
    view = mujoco.MjvCamera()
    if spec.fixed is not None:
        view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        view.fixedcamid = _index(model, mujoco.mjtObj.mjOBJ_CAMERA, spec.fixed, "camera")
        return view, None
    mujoco.mjv_defaultFreeCamera(model, view)
    if spec.lookat is not None:
        view.lookat[:] = spec.lookat
    if spec.distance is not None:
        view.distance = spec.distance
    view.azimuth, view.elevation = spec.azimuth, spec.elevation
    if spec.track_body is None:
        return view, None
    return view, _index(model, mujoco.mjtObj.mjOBJ_BODY, spec.track_body, "body")


def _index(model: mujoco.MjModel, kind: mujoco.mjtObj, name: str, word: str) -> int:
    index = int(mujoco.mj_name2id(model, kind.value, name))
    if index >= 0:
        return index
    count = model.ncam if word == "camera" else model.nbody
    names = [mujoco.mj_id2name(model, kind.value, number) or f"(unnamed {number})" for number in range(count)]
    raise RenderError(f"the robot has no {word} {name!r} (it has {', '.join(names) or 'none'})")
