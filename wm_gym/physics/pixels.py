"""A physical environment seen through its cameras alone."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from wm_gym.physics.camera import open_cameras
from wm_gym.physics.tasks import get_physics_state, make_physics, physics_of
from wm_gym.types import FrameArray, TaskSpec


class CameraObservation(gym.ObservationWrapper[Any, Any, Any]):
    """Shows the frame (H, W, 3) uint8 of the only camera, or a mapping of camera names to frames of several."""

    def __init__(self, env: gym.Env[Any, Any], task: TaskSpec) -> None:
        """Wrap a physical environment.

        Args:
            env: of MuJoCo.
            task: with the cameras to look through; frames are drawn as they are when episodes are recorded.

        Raises:
            RenderError: this machine cannot draw off screen, or the robot has no such camera.
        """
        super().__init__(env)
        self._cameras = open_cameras(physics_of(env).model, task.cameras)
        shapes = {camera.name: (camera.height, camera.width, 3) for camera in task.cameras}
        boxes: dict[str, gym.Space[Any]] = {
            name: gym.spaces.Box(0, 255, shape, np.uint8) for name, shape in shapes.items()
        }
        self.observation_space = next(iter(boxes.values())) if len(boxes) == 1 else gym.spaces.Dict(boxes)

    def observation(self, observation: Any) -> FrameArray | dict[str, FrameArray]:
        """What the cameras show now; the state observation is dropped."""
        qpos, _ = get_physics_state(self.env)
        frames = {name: camera.draw(qpos) for name, camera in self._cameras.items()}
        return next(iter(frames.values())) if len(frames) == 1 else frames

    def close(self) -> None:
        """Close the environment and the cameras."""
        super().close()
        for camera in self._cameras.values():
            camera.close()


def make_pixels(task: TaskSpec) -> CameraObservation:
    """The task's physical environment, seen through its cameras."""
    return CameraObservation(make_physics(task), task)
