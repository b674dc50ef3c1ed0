"""``WorldModel-v0``: one imagined rollout behind ``gymnasium.Env``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from wm_gym.envs.frames import as_frames, side_by_side
from wm_gym.envs.imagination import RolloutState
from wm_gym.envs.rollouts import Rollouts, row_info
from wm_gym.errors import ConfigError
from wm_gym.models import TrainedModel

Array = np.ndarray[Any, np.dtype[Any]]


class WorldModelEnv(gym.Env[Array, Array]):
    """A learned world to train in.

    An episode ends in one of these ways:

    | what happened                              | terminated | truncated | info                 |
    |--------------------------------------------|------------|-----------|----------------------|
    | the task ended by itself (learnt or given) | True       | False     |                      |
    | ``horizon`` steps were taken               | False      | True      |                      |
    | the bounds of the world were left          | False      | True      | ``invalid`` is True  |
    | trust ended, under ``truncate``            | False      | True      | ``trusted`` is False |

    ``info["uncertainty"]`` is the expected normalised root mean square error of this observation against the physics
    under the same actions, accumulated since reset; the actual one stays below ``info["uncertainty_bound"]`` with
    probability 0.9 where the robot is the one that was recorded, acting as it did there. ``info["trusted"]`` is False
    outside the calibrated horizon or the support of the recorded states and actions. Under ``uncertainty="omit"`` only
    ``trusted`` is said.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012  (Gymnasium's own form)

    def __init__(
        self,
        model: str | Path | TrainedModel = "reacher",
        render_mode: str | None = None,
        device: str = "cpu",
        **settings: Any,
    ) -> None:
        """Wrap a trained model.

        Args:
            model: name of a shipped model, a model folder, or a loaded model.
            render_mode: None or ``rgb_array``.
            device: where the model runs.
            **settings: obs_type, camera, horizon, start, deterministic, uncertainty, penalty, reward_fn,
                termination_fn; see :class:`~wm_gym.envs.imagination_config.ImaginationConfig`.

        Raises:
            ModelError: the model does not exist or is damaged.
            ConfigError: a keyword is unknown or its value does not exist.
        """
        self._rollouts = Rollouts(model, 1, device, settings)
        self.observation_space = self._rollouts.observation_space
        self.action_space = self._rollouts.action_space
        self.render_mode = check_render_mode(render_mode)
        self.metadata = {**self.metadata, "render_fps": self._rollouts.frames_per_second}
        self._renderer = Renderer(self._rollouts)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin an episode at a recorded start, or where ``options`` say.

        Args:
            seed: of the start state and of the noise; without one, the next episode of the last seed.
            options: ``{"observation": (S,)}``, ``{"observations": (C+1, S), "actions": (C, A)}`` or
                ``{"state": get_state()}``. A camera model takes raw frames (H, W, 3) uint8 in the place of states
                (S,), whatever it shows itself, or mappings of camera names (and ``state``) to them.

        Returns:
            The observation, (S,) float32, (H, W, 3) uint8 or (D,) float32 by ``obs_type``, and info with
            ``uncertainty``, ``uncertainty_bound`` and ``trusted``, as above.
        """
        super().reset(seed=seed)
        observation, said = self._rollouts.reset(None if seed is None else [seed], options)
        return observation[0], row_info(said, 0)

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Take one step.

        Args:
            action: (A,), clipped to the action space.

        Raises:
            ActionError: the action is not finite or has the wrong shape; nothing has changed.
        """
        result = self._rollouts.step(np.asarray(action)[None])
        return (
            result.observation[0],
            float(result.reward[0]),
            bool(result.terminated[0]),
            bool(result.truncated[0]),
            result.info(0),
        )

    def get_state(self) -> RolloutState:
        """All that the rollout remembers, as a frozen value on the CPU."""
        return self._rollouts.get_state()

    def set_state(self, state: RolloutState) -> None:
        """Go on exactly from a state of :meth:`get_state`."""
        self._rollouts.set_state(state)

    def render(self) -> Array | None:
        """What is imagined, as a picture (H, W, 3) uint8.

        A camera model draws its cameras, side by side. The state of a state model is drawn with the robot's own model;
        it reaches for MuJoCo only now.
        """
        return self._renderer.frame(0) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()


class Renderer:
    """Draws what is imagined: by the model's own cameras, or by the physics engine's, imported at the first frame."""

    def __init__(self, rollouts: Rollouts) -> None:
        self._rollouts = rollouts
        self._camera: Any = None

    def frame(self, row: int) -> Array:
        """The picture of one row: (H, W, 3) uint8."""
        model, current = self._rollouts.imagination.model, self._rollouts.current
        if model.cameras:
            pictures = model.draw(current.latent.rows(torch.tensor([row], device=self._rollouts.device)))
            return side_by_side([as_frames(picture)[0].cpu().numpy() for picture in pictures.values()])
        if self._camera is None:
            from wm_gym.physics.camera import StateRenderer

            self._camera = StateRenderer(self._rollouts.task)
        drawn: Array = self._camera.draw(current.observation[row].cpu().numpy())
        return drawn

    def close(self) -> None:
        """Free the graphics context, if there is one."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_rollouts": self._rollouts, "_camera": None}  # a graphics context belongs to its process


def check_render_mode(render_mode: str | None) -> str | None:
    """Raise ``ConfigError`` on a mode that does not exist."""
    if render_mode not in (None, "rgb_array"):
        raise ConfigError(f"render_mode={render_mode!r}: None or 'rgb_array'")
    return render_mode
