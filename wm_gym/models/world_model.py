"""The contract of a world model. Read this first: everything else is behind it or in front of it.

A world model is a batched pure function of what it is given: the latent state and the noise go in, the next latent
state comes out, and nothing is remembered in between. It knows no environment, no episode and no seed.

    embedding = encode(observation)                      what the sensors say            (B, E)
    latent    = observe(latent, action, embedding)       a step with an observation      (posterior)
    latent    = imagine(latent, action)                  a step without one              (prior)
    prediction = predict(latent)                         what the latent state looks like
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from wm_gym.models.normalization import Normalizer
from wm_gym.types import LatentState, Observation, Prediction, Segment, TaskSpec


@dataclass(frozen=True)
class Loss:
    """What a model is trained on, and the parts to show while it trains."""

    total: Tensor
    """Scalar with a gradient."""
    parts: dict[str, Tensor]
    """Scalars without one."""


class WorldModel(nn.Module, ABC):
    """A learned world: an encoder, dynamics and decoders behind four verbs."""

    family: ClassVar[str]
    """The name that stands in ``config.json``."""
    obs_types: tuple[str, ...]
    """What :meth:`predict` can show, out of ``state``, ``image`` and ``latent``; the first is the default."""
    noise_size: int
    """Uniform numbers in (0, 1) that one imagined step of one row consumes."""
    context: int
    """Recorded steps to observe before imagining; 0 where one observation is enough."""
    normalizer: Normalizer
    """Scales, ranges and bounds of the training data."""

    def __init__(self, task: TaskSpec) -> None:
        super().__init__()
        self.task = task

    @abstractmethod
    def encode(self, observation: Observation) -> Tensor:
        """Embed raw observations: (B, E)."""

    @abstractmethod
    def observe(
        self, latent: LatentState | None, action: Tensor | None, embedding: Tensor, noise: Tensor | None = None
    ) -> LatentState:
        """Take a step with an observation.

        Args:
            latent: B rows, or None at the first observation.
            action: (B, A) that led to the observation, or None at the first one.
            embedding: (B, E) from :meth:`encode`.
            noise: (B, noise_size) uniform in (0, 1); None for the mean.
        """

    @abstractmethod
    def choose(self, latent: LatentState, noise: Tensor | None) -> LatentState:
        """Choose which of the model's beliefs each row shows from now on.

        Args:
            latent: B rows.
            noise: (B, noise_size) uniform in (0, 1); None for the mean of all beliefs.
        """

    @abstractmethod
    def imagine(self, latent: LatentState, action: Tensor, noise: Tensor | None = None) -> LatentState:
        """Take a step without an observation.

        Args:
            latent: B rows.
            action: (B, A) in the units of the action space.
            noise: (B, noise_size) uniform in (0, 1); None for the mean.
        """

    @abstractmethod
    def predict(self, latent: LatentState) -> Prediction:
        """Decode B latent states."""

    @abstractmethod
    def loss(self, segment: Segment, horizon: int) -> Loss:
        """Score ``horizon`` imagined steps of each window against what was recorded.

        Args:
            segment: at least ``horizon`` steps long.
            horizon: imagined steps, fed back on themselves.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Plain values from which the registry rebuilds the same architecture."""
