"""The way back to reality: a real environment's frames and actions, filtered into latent states."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from wm_gym.data.lerobot import nominal_fps
from wm_gym.data.video import LiveVideo
from wm_gym.envs.frames import STATE, as_pictures, checked_frames
from wm_gym.envs.spaces import batched_actions
from wm_gym.errors import ConfigError, ObservationError
from wm_gym.models import TrainedModel, load_model
from wm_gym.models.device import usable_device
from wm_gym.types import FrameArray, LatentState, Observation

Array = np.ndarray[Any, np.dtype[Any]]


class LatentObservation(gym.Wrapper[Array, Array, Any, Array]):
    """Shows what a policy that was trained on ``obs_type="latent"`` has learnt to act on: vectors (D,) float32.

    In imagination latent states follow from what was imagined before (priors), here from what a camera has just shown
    (posteriors). The policy meets the second kind for the first time here; what that costs is to be measured.
    """

    def __init__(
        self,
        env: gym.Env[Any, Array],
        model: str | Path | TrainedModel,
        device: str | torch.device = "cpu",
        live: bool = True,
    ) -> None:
        """Wrap a real environment.

        Args:
            env: shows frames (H, W, 3) uint8 of the model's only camera, or a mapping of camera names, and ``state``
                where the model senses it, to frames and states. After the first observation cameras may be left out,
                all of them in an empty mapping: what they would have shown is imagined.
            model: name of a shipped model, a model folder, or a loaded model.
            device: where the model runs.
            live: frames come from a camera, and are looked at as a recording would hold them, since that is what the
                model has learnt from; False for frames that come from a video, or are imagined.

        Raises:
            ModelError: the model does not exist, or offers no latent observation.
            ConfigError: the environment takes other actions than the model.
        """
        super().__init__(env)
        trained = model if isinstance(model, TrainedModel) else load_model(model)
        self._device = usable_device(device)
        self._live = live
        self._videos: dict[str, LiveVideo] = {}
        self._model = trained.to(self._device).model
        if not self._model.cameras:
            raise ConfigError(f"a model of family {self._model.family!r} looks through no camera")
        if env.action_space.shape != (self._model.task.action_space.size,):
            raise ConfigError(
                f"the environment's actions have shape {env.action_space.shape}, the model's "
                f"{(self._model.task.action_space.size,)}"
            )
        self._nothing = torch.full((1, self._model.embedding_size), torch.nan, device=self._device)
        size = self._model.vector(self._model.observe(None, None, self._nothing)).shape[1]
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self._latent: LatentState | None = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy begins a new video: an encoder cannot be copied."""
        return {**self.__dict__, "_videos": {}}

    @property
    def latent(self) -> LatentState:
        """The filtered latent state, one row."""
        if self._latent is None:
            raise ConfigError("call reset() before the first step")
        return self._latent

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin an episode of the real environment, and to filter: (D,) float32 and the environment's own info."""
        self._latent, self._videos = None, {}
        observation, info = self.env.reset(seed=seed, options=options)
        with torch.no_grad():
            self._latent = self._model.observe(None, None, self._encode(observation))
        return self._vector(), info

    def step(self, action: Array) -> tuple[Array, Any, bool, bool, dict[str, Any]]:
        """Act in the real environment, and filter what it shows.

        Args:
            action: (A,), what the model is told of it is clipped to the action space.
        """
        latent = self.latent
        taken = batched_actions(np.asarray(action)[None], self._model.task, 1, self._device)
        observation, reward, terminated, truncated, info = self.env.step(action)
        with torch.no_grad():
            self._latent = self._model.observe(latent, taken, self._encode(observation))
        return self._vector(), reward, terminated, truncated, info

    def _encode(self, observation: Any) -> torch.Tensor:
        """The embedding (1, F) of what the environment shows."""
        model = self._model
        given = observation if isinstance(observation, Mapping) else {model.cameras[0].name: observation}
        frames = {}
        for camera in model.cameras:
            if camera.name in given:
                place = f"the environment's frame of camera {camera.name!r}"
                checked = checked_frames(given[camera.name], (camera.height, camera.width, 3), place)
                frames[camera.name] = as_pictures(self._seen(camera.name, checked[:, 0]), self._device)
        sensed = "state" in model.obs_types and STATE in given
        state = torch.from_numpy(np.array(given[STATE], np.float32)[None]).to(self._device) if sensed else None
        if not given and self._latent is not None:
            return self._nothing
        if not frames and state is None:
            raise ObservationError(
                f"the environment shows {sorted(map(str, given))}, the model looks through "
                f"{', '.join(camera.name for camera in model.cameras)}"
            )
        return model.encode(Observation(state, frames))

    def _seen(self, camera: str, frames: FrameArray) -> FrameArray:
        """The frame (1, H, W, 3) of a camera, as a recording of this episode would hold it."""
        if not self._live:
            return frames
        video = self._videos.setdefault(camera, LiveVideo(nominal_fps(self._model.task.control_dt)))
        return video.pass_on(frames[0])[None]

    def _vector(self) -> Array:
        vector: Array = self._model.vector(self.latent)[0].cpu().numpy().copy()
        return vector
