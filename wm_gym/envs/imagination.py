"""N imagined rollouts in flight, in torch alone: states go in and states come out, and no gymnasium is known here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wm_gym.envs.frames import as_frames
from wm_gym.envs.imagination_config import ImaginationConfig, TransitionFn
from wm_gym.envs.noise import Stream, uniform
from wm_gym.errors import ConfigError, ObservationError
from wm_gym.models import TrainedModel
from wm_gym.types import LatentState, Prediction

Array = np.ndarray[Any, np.dtype[Any]]
_OWN = ("observation", "seeds", "steps", "episodes", "elapsed")
SAID = ("uncertainty", "uncertainty_bound", "trusted")
"""What every ``info`` says of the observation beside it; under ``omit`` the last of them alone."""


@dataclass(frozen=True)
class RolloutState:
    """All that rollouts remember: a frozen value, from which they go on exactly."""

    latent: LatentState
    observation: Tensor
    """(B, ...) last observation shown: (B, S) states, (B, H, W, 3) uint8 frames or (B, D) latent vectors."""
    seeds: Tensor
    """(B,) int64."""
    steps: Tensor
    """(B,) int64 steps since the row was seeded: the counter of its noise."""
    episodes: Tensor
    """(B,) int64 episodes since the row was seeded: the counter of its start states."""
    elapsed: Tensor
    """(B,) int64 steps since the episode began."""

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by its name; those of the latent state begin with ``latent.``."""
        latent = {f"latent.{name}": value for name, value in self.latent.values.items()}
        return latent | {name: getattr(self, name) for name in _OWN}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> RolloutState:
        """Inverse of :meth:`tensors`."""
        latent = {n.removeprefix("latent."): value for n, value in tensors.items() if n.startswith("latent.")}
        return cls(LatentState(latent), **{name: tensors[name] for name in _OWN})

    def map(self, function: Callable[[Tensor], Tensor]) -> RolloutState:
        """Apply a function to every tensor."""
        return RolloutState.of_tensors({name: function(value) for name, value in self.tensors().items()})

    def rows(self, index: Tensor) -> RolloutState:
        """The rows that ``index`` names."""
        return self.map(lambda value: value[index])

    def with_rows(self, index: Tensor, other: RolloutState) -> RolloutState:
        """A copy in which the rows ``index`` are those of ``other``."""
        theirs = other.tensors()
        mine = self.tensors().items()
        return RolloutState.of_tensors({name: value.index_copy(0, index, theirs[name]) for name, value in mine})

    def write_rows(self, index: Tensor, other: RolloutState) -> None:
        """Write the rows ``index`` of these very tensors, for who owns them; :meth:`with_rows` copies instead."""
        theirs = other.tensors()
        for name, value in self.tensors().items():
            value.index_copy_(0, index, theirs[name])


@dataclass(frozen=True)
class Transition:
    """What one step of B rollouts shows; every number is finite."""

    observation: Tensor
    """(B, ...) as in :class:`RolloutState`."""
    reward: Tensor
    """(B,)."""
    terminated: Tensor
    """(B,) bool: the task ended by itself."""
    truncated: Tensor
    """(B,) bool: the horizon was reached, the bounds were left, or trust ended where that was asked."""
    uncertainty: Tensor | None
    """(B,) expected nRMSE of the observation against the truth; None where it is omitted."""
    uncertainty_bound: Tensor | None
    """(B,) what the actual nRMSE stays below with probability 0.9, as far as this is a moment like those recorded."""
    trusted: Tensor
    """(B,) bool: inside the calibrated horizon and the support of the data."""
    invalid: Tensor
    """(B,) bool: the bounds were left, and the observation is the last one inside them."""


class Imagination:
    """Rollouts of one trained model under one set of rules."""

    def __init__(self, trained: TrainedModel, config: ImaginationConfig | None = None) -> None:
        self.trained, self.config = trained, config or ImaginationConfig()
        self.model = trained.model
        if "reward" in trained.unrecorded and self.config.reward_fn is None:
            words = "learnt from logs without a reward: every step earns 0; give reward_fn=..., batched"
            warnings.warn(f"model of {trained.task.name}: {words}", stacklevel=2)
        cameras = tuple(camera.name for camera in self.model.cameras)
        self.config.check(self.model.obs_types, cameras, self.model.can_omit)
        self.obs_type = self.config.obs_type or self.model.obs_types[0]
        self.horizon = int(self.config.horizon or trained.task.max_episode_steps)
        starts = trained.starts
        self._starts = starts.initial if self.config.start == "initial" else starts.any
        self._start_actions = starts.initial_actions if self.config.start == "initial" else starts.any_actions
        self._low, self._high = self.model.normalizer.bounds
        shown = trained.task.observation_space
        self._shown = [torch.tensor(bound, device=self._low.device) for bound in (shown.low, shown.high)]

    @torch.no_grad()
    def begin(self, seeds: Tensor, episodes: Tensor | None = None, steps: Tensor | None = None) -> RolloutState:
        """Begin B episodes at recorded moments.

        Args:
            seeds: (B,) int64.
            episodes: (B,) int64, how many the row has finished; None for freshly seeded rows.
            steps: (B,) int64, how many the row has taken; likewise.
        """
        episodes = torch.zeros_like(seeds) if episodes is None else episodes
        draw = uniform(seeds, episodes, Stream.START, 1)[:, 0].double()
        index = (draw * len(self._starts)).long()
        return self._begin(self._starts[index], self._start_actions[index], seeds, episodes, steps)

    @torch.no_grad()
    def begin_at(
        self,
        observations: Tensor,
        actions: Tensor,
        seeds: Tensor,
        episodes: Tensor | None = None,
        steps: Tensor | None = None,
    ) -> RolloutState:
        """Begin B episodes after a context of the user's own.

        Args:
            observations: (B, C+1, F) embeddings: raw states, or codes of frames with NaN for what was not observed.
            actions: (B, C, A) that lie between them.
            seeds: (B,) int64.
            episodes: as in :meth:`begin`.
            steps: as in :meth:`begin`.

        Raises:
            ObservationError: a value is not finite, or lies outside the world's bounds.
        """
        known = torch.isfinite(observations) | (observations.isnan() & bool(self.model.cameras))
        if not bool(known.all() & torch.isfinite(actions).all()):
            raise ObservationError("the start holds a value that is not finite; the environment is unchanged")
        outside = (observations < self._low) | (observations > self._high)
        if bool(outside.any()):
            dimension = int(outside.nonzero()[0, -1])
            if self.model.cameras:
                raise ObservationError(
                    f"the start looks like nothing that {self.trained.task.name} recorded (number {dimension} of its "
                    "code lies beyond ten times the training range); give a frame of the recorded camera"
                )
            raise ObservationError(
                f"start observation dimension {dimension} = {observations[..., dimension].abs().max():.4g} lies beyond "
                f"ten times the training range; give raw, unscaled observations of {self.trained.task.name}"
            )
        episodes = torch.zeros_like(seeds) if episodes is None else episodes
        return self._begin(observations, actions, seeds, episodes, steps)

    @torch.no_grad()
    def step(self, state: RolloutState, action: Tensor) -> tuple[RolloutState, Transition]:
        """Advance B rollouts by finite actions (B, A) within the bounds of the action space.

        The state is of this imagination, or one that it took over by :meth:`adopt`.
        """
        config, before = self.config, state.observation
        noise = None
        if not config.deterministic:
            noise = uniform(state.seeds, state.steps, Stream.DYNAMICS, self.model.noise_size)
        latent = self.model.imagine(state.latent, action, noise)
        prediction = self.model.predict(latent)
        features = self.model.features(latent, prediction)
        invalid = ((features <= self._low) | (features >= self._high) | ~torch.isfinite(features)).any(-1)
        shown = self._show(latent, prediction)
        observation = torch.where(invalid.view(-1, *(1,) * (shown.dim() - 1)), before, shown)
        elapsed = state.elapsed + 1
        uncertainty, bound = self._doubt(features, prediction, elapsed)
        trusted = (elapsed <= self.trained.calibration.horizon) & self.trained.support.contains(features, action)
        trusted = trusted & ~invalid
        reward = self._reward(before, action, observation, prediction)
        # Nothing recorded says what lies outside the bounds: no more than the lowest reward is paid for going there.
        reward = torch.where(invalid, torch.minimum(reward, self.model.normalizer.reward_range[0]), reward)
        if config.uncertainty == "penalize":
            assert uncertainty is not None
            reward = reward - config.penalty * uncertainty
        terminated = self._terminated(before, action, observation, prediction, state) & ~invalid
        truncated = (elapsed >= self.horizon) | invalid
        if config.uncertainty == "truncate":
            truncated = truncated | ~trusted
        following = replace(state, latent=latent, observation=observation, steps=state.steps + 1, elapsed=elapsed)
        return following, Transition(observation, reward, terminated, truncated, uncertainty, bound, trusted, invalid)

    @torch.no_grad()
    def judge_start(self, state: RolloutState) -> dict[str, Tensor]:
        """What is said (B,) of a state that was set, by its name; the action that led to it is not asked about."""
        prediction = self.model.predict(state.latent)
        features = self.model.features(state.latent, prediction)
        neutral = self.trained.support.mean[features.shape[-1] :]
        supported = self.trained.support.contains(features, neutral.expand(len(state.seeds), -1))
        uncertainty, bound = self._doubt(features, prediction, state.elapsed)
        trusted = supported & (state.elapsed <= self.trained.calibration.horizon)
        return as_said(uncertainty, bound, trusted)

    @torch.no_grad()
    def adopt(self, state: RolloutState) -> RolloutState:
        """A state of another imagination of this model, under the rules of this one.

        The mean is shown if that is asked for, and all but the shown trajectory is let go where uncertainty is omitted.

        Raises:
            ObservationError: one trajectory cannot tell how far the members disagree.
        """
        if self.config.uncertainty == "omit":
            return replace(state, latent=self.model.keep_shown(state.latent))
        if not self.model.carries_all(state.latent):
            raise ObservationError(
                "a state of uncertainty='omit' cannot tell how far members disagree: go on in such a world"
            )
        if not self.config.deterministic:
            return state
        latent = self.model.choose(state.latent, None)
        return replace(state, latent=latent, observation=self._show(latent, self.model.predict(latent)))

    def _doubt(
        self, features: Tensor, prediction: Prediction, elapsed: Tensor
    ) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Expected error (B,), and its bound (B,); nothing where it is omitted."""
        if self.config.uncertainty == "omit":
            return None, None
        calibration, deterministic = self.trained.calibration, self.config.deterministic
        distance = self.trained.support.distance(features)
        expected = calibration.expected_error(prediction.spread, distance, elapsed, deterministic)
        return expected, calibration.bound(expected, elapsed, deterministic)

    def _member_noise(self, seeds: Tensor, episodes: Tensor) -> Tensor | None:
        if self.config.deterministic:
            return None
        return uniform(seeds, episodes, Stream.MEMBER, self.model.noise_size)

    def _begin(
        self, observations: Tensor, actions: Tensor, seeds: Tensor, episodes: Tensor, steps: Tensor | None
    ) -> RolloutState:
        noise = self._member_noise(seeds, episodes)
        latent = self.model.observe(None, None, observations[:, 0], noise)
        for step in range(actions.shape[1]):
            latent = self.model.observe(latent, actions[:, step], observations[:, step + 1], noise)
        if self.config.uncertainty == "omit":
            latent = self.model.keep_shown(latent)
        return RolloutState(
            latent=latent,
            observation=self._show(latent, self.model.predict(latent)),
            seeds=seeds,
            steps=torch.zeros_like(seeds) if steps is None else steps,
            episodes=episodes,
            elapsed=torch.zeros_like(seeds),
        )

    def _show(self, latent: LatentState, prediction: Prediction) -> Tensor:
        """The observation (B, ...) of this ``obs_type``; pictures are drawn for ``image`` alone."""
        if self.obs_type == "latent":
            return self.model.vector(latent)
        if self.obs_type == "image":
            return as_frames(self.model.draw(latent)[self.config.camera or self.model.cameras[0].name])
        if prediction.state is None:
            raise ConfigError("this model decodes no state observation")
        # What a space bounds is shown within it; the model itself may lie a little beyond.
        return torch.minimum(torch.maximum(prediction.state, self._shown[0]), self._shown[1])

    def _reward(self, before: Tensor, action: Tensor, after: Tensor, prediction: Prediction) -> Tensor:
        if self.config.reward_fn is None:
            return prediction.reward
        given = self._ask("reward_fn", self.config.reward_fn, before, action, after)
        if not bool(torch.isfinite(given).all()):
            raise ConfigError("reward_fn returned a value that is not finite")
        return given.to(prediction.reward)

    def _terminated(
        self, before: Tensor, action: Tensor, after: Tensor, prediction: Prediction, state: RolloutState
    ) -> Tensor:
        if self.config.termination_fn is not None:
            return self._ask("termination_fn", self.config.termination_fn, before, action, after).bool()
        if self.config.deterministic:
            return prediction.continuation < 0.5
        drawn = uniform(state.seeds, state.steps, Stream.TERMINATION, 1)[:, 0]
        return drawn > prediction.continuation

    @staticmethod
    def _ask(name: str, function: TransitionFn, before: Tensor, action: Tensor, after: Tensor) -> Tensor:
        """Call a user's function on copies in numpy, and hold it to one value per row."""
        given = function(*(value.cpu().numpy().copy() for value in (before, action, after)))
        result = torch.as_tensor(np.asarray(given), device=after.device)
        if result.shape != after.shape[:1]:
            raise ConfigError(f"{name} must return shape ({len(after)},), one value per row, not {tuple(result.shape)}")
        return result


def as_said(*values: Tensor | None) -> dict[str, Tensor]:
    """What is said of rows, (B,) each, by the names of ``SAID``; what is omitted has none."""
    return {name: value for name, value in zip(SAID, values, strict=True) if value is not None}
