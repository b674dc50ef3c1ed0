"""The contract of a world model. Read this first: everything else is behind it or in front of it.

A world model is a batched pure function of what it is given: the latent state and the noise go in, the next latent
state comes out, and nothing is remembered in between. It knows no environment, no episode and no seed.

    embedding = encode(observation)                      what the sensors say            (B, E)
    latent    = observe(latent, action, embedding)       a step with an observation      (posterior)
    latent    = imagine(latent, action)                  a step without one              (prior)
    prediction = predict(latent)                         what the latent state looks like
    pictures  = draw(latent)                             what the cameras would show, only when asked

Everywhere but in :class:`~wm_gym.types.Observation` an *embedding* stands for what was observed: the raw state itself
in a state model, codes of frames in a camera model. Windows to train on, start states and scales are of embeddings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from wm_gym.errors import ModelError
from wm_gym.models.normalization import Normalizer
from wm_gym.types import CameraSpec, LatentState, Observation, Prediction, Segment, TaskSpec


@dataclass(frozen=True)
class Loss:
    """What a model is trained on, and the parts to show while it trains."""

    total: Tensor
    """Scalar with a gradient."""
    parts: dict[str, Tensor]
    """Scalars without one."""


class Trainable(nn.Module, ABC):
    """What the training loop needs of a module."""

    @abstractmethod
    def loss(self, segment: Segment, horizon: int) -> Loss:
        """Score ``horizon`` imagined steps of each window against what was recorded.

        Args:
            segment: at least ``horizon`` steps long.
            horizon: imagined steps, fed back on themselves.
        """


class WorldModel(Trainable):
    """A learned world: an encoder, dynamics and decoders behind four verbs."""

    family: ClassVar[str]
    """The name that stands in ``config.json``."""
    obs_types: tuple[str, ...]
    """What :meth:`predict` can show, out of ``state``, ``image`` and ``latent``; the first is the default."""
    noise_size: int
    """Uniform numbers in (0, 1) that one imagined step of one row consumes."""
    context: int
    """Recorded steps to observe before imagining from amid an episode; 0 where one observation is enough."""
    cameras: tuple[CameraSpec, ...] = ()
    """What :meth:`draw` shows; empty for a model without pictures."""
    can_omit: ClassVar[bool] = False
    """Whether a row can be imagined by the one belief that it shows, at a part of the cost and without a spread."""
    legacy_settings: ClassVar[Mapping[str, Any]] = {}
    """Values of settings in a ``config.json`` that was written before they existed."""
    normalizer: Normalizer
    """Scales, ranges and bounds of the training data."""

    def __init__(self, task: TaskSpec) -> None:
        super().__init__()
        self.task = task

    @property
    def embedding_size(self) -> int:
        """F, the numbers of an embedding."""
        return len(self.normalizer.mean)

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

    def carries_all(self, latent: LatentState) -> bool:
        """Whether all beliefs are there, and so can disagree; False after :meth:`keep_shown`."""
        return True

    def keep_shown(self, latent: LatentState) -> LatentState:
        """Let go of all beliefs but the one that each row shows; only where :attr:`can_omit` says so."""
        raise ModelError(f"a model of family {self.family!r} carries all its beliefs")

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
        """Decode B latent states, all but their pictures."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Plain values from which the registry rebuilds the same architecture."""

    def features(self, latent: LatentState, prediction: Prediction) -> Tensor:
        """The numbers (B, F) of a latent state that bounds, support and errors are measured on: as an embedding has.

        Args:
            latent: B rows.
            prediction: what :meth:`predict` says of them.
        """
        if prediction.state is None:
            raise ModelError(f"a model of family {self.family!r} decodes no state to measure errors on")
        return prediction.state

    def vector(self, latent: LatentState) -> Tensor:
        """A latent state as one vector (B, D) for an agent that acts on latent states, scaled to a few units."""
        raise ModelError(f"a model of family {self.family!r} offers no latent observation")

    def draw(self, latent: LatentState) -> Mapping[str, Tensor]:
        """What every camera would show of B latent states: name -> (B, 3, H, W) in [0, 1]."""
        raise ModelError(f"a model of family {self.family!r} draws no pictures")
