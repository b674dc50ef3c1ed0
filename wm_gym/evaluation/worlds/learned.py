"""A trained model as a world to be judged."""

from __future__ import annotations

import numpy as np
import torch

from wm_gym.envs import WorldModelVectorEnv
from wm_gym.errors import ModelError
from wm_gym.evaluation.actors import Actor
from wm_gym.evaluation.rollouts import imagined_episodes
from wm_gym.evaluation.worlds.world import Followed, Moments, Track
from wm_gym.models import TrainedModel
from wm_gym.types import Episode, FloatArray, Observation

_ROWS = 4096
"""Rows that are imagined at once: more would only take memory."""


class LearnedWorld:
    """See :class:`~wm_gym.evaluation.worlds.world.World`."""

    name = "world model"

    def __init__(self, trained: TrainedModel) -> None:
        """Judge a model that begins at a single observation.

        Raises:
            ModelError: the model needs several observations to begin.
        """
        if trained.model.context:
            raise ModelError(f"{trained.folder}: a model that needs {trained.model.context} steps of context")
        self.trained = trained

    def follow(self, starts: Moments, actions: FloatArray) -> Followed:
        """The mean prediction of the ensemble."""
        parts = [
            self._follow(starts.rows(slice(first, first + _ROWS)), actions[first : first + _ROWS])
            for first in range(0, len(starts), _ROWS)
        ]
        columns = zip(*parts, strict=True)
        return Followed(*(np.concatenate(column) for column in columns))

    @torch.inference_mode()
    def _follow(self, starts: Moments, actions: FloatArray) -> tuple[FloatArray, ...]:
        model, calibration = self.trained.model, self.trained.calibration
        acts = torch.as_tensor(np.asarray(actions), dtype=torch.float32)
        shown = torch.as_tensor(np.asarray(starts.observations), dtype=torch.float32)
        latent = model.observe(None, None, model.encode(Observation(shown)))
        found = []
        for step in range(acts.shape[1]):
            latent = model.imagine(latent, acts[:, step])
            said = model.predict(latent)
            assert said.state is not None, "a model without a decoded state has nothing to be held against"
            elapsed = torch.full((len(acts),), step + 1)
            distance = self.trained.support.distance(said.state)
            doubt = calibration.expected_error(said.spread, distance, elapsed, True)
            found.append((said.state, said.reward, said.continuation, doubt))
        return tuple(torch.stack(column, 1).double().numpy() for column in zip(*found, strict=True))

    def play(self, actor: Actor, starts: Moments, limit: int, seed: int, track: Track = iter) -> list[Episode]:
        """All rows side by side, each with a member of its own and sampled noise, as a policy meets it."""
        list(track(range(len(starts))))
        envs = WorldModelVectorEnv(num_envs=len(starts), model=self.trained, max_episode_steps=limit)
        try:
            return imagined_episodes(envs, actor, starts.observations, seed, self.trained.task.control_dt)
        finally:
            envs.close()
