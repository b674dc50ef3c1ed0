"""What an agent on latent states meets outside: not what is imagined, but what a filter makes of noisy pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch import Tensor

from wm_gym.envs.sb3 import WorldModelVecEnv
from wm_gym.envs.spaces import batched_actions
from wm_gym.errors import ConfigError
from wm_gym.models import TrainedModel
from wm_gym.types import LatentState


@torch.no_grad()
def code_noise(trained: TrainedModel) -> Tensor:
    """Standard deviations (F,) of what a frame's embedding tells beyond what was expected one step ahead.

    Measured on the recorded contexts that come with the model. It bounds the noise of the codes from above, as the
    dynamics' own error is in it too.

    Raises:
        ConfigError: the model comes without contexts.
    """
    if not trained.starts.any_actions.shape[1]:
        raise ConfigError("noise: the model comes with single frames alone, which tell nothing of their noise; use 0")
    model, frames, actions = trained.model, trained.starts.any, trained.starts.any_actions
    latent = model.observe(None, None, frames[:, 0])
    for step in range(actions.shape[1]):
        imagined = model.imagine(latent, actions[:, step])
        expected = model.features(imagined, model.predict(imagined))
        latent = model.observe(latent, actions[:, step], frames[:, step + 1])
    return (frames[:, -1] - expected).std(0)


class FilteredLatents(VecEnvWrapper):
    """Latent vectors as ``LatentObservation`` will show them.

    What is imagined goes on as it did, but the agent does not see it: a filter of its own is shown the imagined
    embedding with noise at every step, drawn anew, and the agent sees the filter's latent state. Noise on the vectors
    themselves would not do: what frames are wrong about reaches velocities through the filter's memory.
    """

    def __init__(self, venv: WorldModelVecEnv, trained: TrainedModel, scale: Tensor, seed: int) -> None:
        """Filter a camera model's rollouts.

        Args:
            venv: ``obs_type="latent"``.
            trained: its model.
            scale: (F,) standard deviations of the noise, see :func:`code_noise`.
            seed: of the noise.
        """
        super().__init__(venv)
        self._model, self._scale = trained.model, scale
        self._generator = torch.Generator().manual_seed(seed)
        self._actions: np.ndarray | None = None
        self._filtered: LatentState | None = None

    def reset(self) -> np.ndarray:
        """Where episodes begin the filter has just seen recorded frames: nothing is added."""
        observation = self.venv.reset()
        self._filtered = self._imagined()
        return np.asarray(observation)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions (N, A) for the filter, too."""
        self._actions = actions
        super().step_async(actions)

    def tensors(self) -> dict[str, Tensor]:
        """Where the filter and its noise stand, by name; the rollouts inside have a state of their own."""
        assert self._filtered is not None
        return {**self._filtered.values, "noise": self._generator.get_state()}

    def restore(self, tensors: Mapping[str, Tensor]) -> np.ndarray:
        """Go on exactly from :meth:`tensors`, with the vectors (N, D) that were seen last."""
        values = dict(tensors)
        self._generator.set_state(values.pop("noise"))
        self._filtered = LatentState(values)
        return self._shown()

    @torch.no_grad()
    def step_wait(self) -> VecEnvStepReturn:
        """As of the wrapped environment; observations and last observations are the filter's."""
        begun, reward, done, infos = self.venv.step_wait()
        ended = np.flatnonzero(done)
        reached = np.array(begun)
        for row in ended:
            reached[row] = infos[row]["terminal_observation"]
        seen = self._filter(torch.from_numpy(reached))
        for row in ended:
            infos[row]["terminal_observation"] = seen[row].copy()
        if len(ended):
            self._begin_anew(torch.from_numpy(ended))
            seen[ended] = np.asarray(begun)[ended]
        return seen, reward, done, infos

    def _filter(self, reached: Tensor) -> np.ndarray:
        """The vectors (N, D) that the filter has, once it was shown where rows have imagined themselves (N, D)."""
        assert self._filtered is not None and self._actions is not None
        taken = batched_actions(self._actions, self._model.task, self.num_envs, reached.device)
        normalizer = self._model.normalizer
        embedding = reached[:, : len(self._scale)] * normalizer.std + normalizer.mean
        embedding = embedding + self._scale * torch.randn(embedding.shape, generator=self._generator)
        self._filtered = self._model.observe(self._filtered, taken, embedding)
        return self._shown()

    def _shown(self) -> np.ndarray:
        assert self._filtered is not None
        return np.array(self._model.vector(self._filtered).numpy())

    def _begin_anew(self, ended: Tensor) -> None:
        assert self._filtered is not None
        fresh = self._imagined(ended.tolist())
        for name, values in self._filtered.values.items():
            values[ended] = fresh[name]

    def _imagined(self, rows: Any = None) -> LatentState:
        venv: Any = self.venv
        latent: LatentState = venv.get_state(rows).latent
        return latent
