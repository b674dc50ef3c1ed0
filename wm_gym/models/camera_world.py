"""The camera model: what the cameras show is embedded, remembered by a recurrent filter, and imagined by an ensemble.

    frames  --coder-->  appearance e  --recall-->  memory v (what one frame cannot show: velocities)
    (e, v), action  --member m-->  the next appearance; recall then updates the memory, as it does for a recorded frame

A step with an observation and one without differ in where the next appearance comes from, the camera or the ensemble,
and in nothing else: the same recall follows. So imagined and filtered latent states agree as far as the imagined
appearance does, and that is what is trained, along the model's own rollout. Every member carries its own trajectory, as
in the state model; the memory's network is shared, so that latent states of all members mean the same to an agent.

Sources: one recurrent network for both verbs from Hafner et al. 2019 (PlaNet, section 3), without its random part: the
robots at hand are deterministic, and sampled codes would blur a position that pixels show to a few millimetres; losses
along the model's own rollout from Li et al. 2025 (RWM, section III); an ensemble for doubt from Chua et al. 2018
(PETS, section 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wm_gym.errors import ConfigError
from wm_gym.models.frame_coder import FrameCoderConfig, FrameCoders
from wm_gym.models.members import deal_rows, draw_members, show_member
from wm_gym.models.normalization import Normalizer
from wm_gym.models.state_ensemble import EnsembleMLP
from wm_gym.models.world_model import Loss, WorldModel
from wm_gym.types import CameraSpec, Episode, LatentState, Observation, Prediction, Segment, TaskSpec


@dataclass(frozen=True)
class CameraWorldConfig:
    """The size of the networks: a little less than 1 MFLOP an imagined step, undecoded."""

    cameras: tuple[str, ...] = ()
    """Names of the cameras that are modelled; none for all of the task's."""
    proprioception: bool = False
    """Whether the state observation is a sensor beside the cameras."""
    size: int = 24
    """Numbers that stand for a frame, of each camera; two of them are each point's place."""
    points: int = 8
    channels: tuple[int, ...] = (16, 32, 64, 64)
    memory: int = 64
    """Numbers that the filter carries."""
    members: int = 4
    width: int = 160
    layers: int = 3
    judge_width: int = 96
    """Of the network that judges a transition: reward and termination."""
    judge_layers: int = 2
    context: int = 8
    """Steps that the filter is shown before it is held to know how the robot moves."""
    window: float = FrameCoderConfig.window
    """Of the points, see :class:`~wm_gym.models.frame_coder.FrameCoderConfig`."""


class CameraWorld(WorldModel):
    """Dynamics, reward and termination of a robot that cameras look at, and the pictures that they would take.

    An embedding (B, F) is the code of every camera, one after the other, and the state observation where it is a
    sensor; what was not observed is NaN. The latent state holds ``appearance`` (B, M, F), an embedding for each member;
    ``memory`` (B, M, K); ``member`` (B,) the one that the row shows, or -1 for the mean; ``reward`` (B,),
    ``continuation`` (B,) probability and ``spread`` (B,).
    """

    family: ClassVar[str] = "camera"
    legacy_settings: ClassVar[Mapping[str, Any]] = {"window": 0.0}

    def __init__(self, task: TaskSpec, config: CameraWorldConfig | None = None) -> None:
        super().__init__(task)
        self.shape = config or CameraWorldConfig()
        self.cameras = _chosen_cameras(task, self.shape.cameras)
        states = task.observation_space.size if self.shape.proprioception else 0
        if self.shape.members < 2:
            raise ConfigError(f"members={self.shape.members}: at least 2, or nothing tells how far they disagree")
        if self.shape.proprioception and not states:
            raise ConfigError(f"proprioception=true: {task.name} records no state observation")
        self.obs_types = ("image", "state", "latent") if states else ("image", "latent")
        self.noise_size, self.context = 1, self.shape.context
        sizes = FrameCoderConfig(self.shape.size, self.shape.points, tuple(self.shape.channels), self.shape.window)
        self.coders = FrameCoders(self.cameras, task.action_space.size, sizes)
        seen, actions, members = (
            len(self.cameras) * self.shape.size + states,
            task.action_space.size,
            self.shape.members,
        )
        self.normalizer = Normalizer(seen, task.action_space)
        self.recall = nn.GRUCell(2 * seen + actions, self.shape.memory)
        inputs = seen + self.shape.memory + actions
        self.dynamics = EnsembleMLP(members, inputs, self.shape.width, self.shape.layers, seen)
        self.judge = EnsembleMLP(members, 2 * seen + actions, self.shape.judge_width, self.shape.judge_layers, 2)

    def fit_scales(self, episodes: Sequence[Episode]) -> None:
        """Measure the training episodes, whose observations are embeddings without a hole.

        A code whose deviation is less than its coder tells apart, as of the height of a cart on its rail, is taken for
        noise: it is held still, and not blown up to a deviation of one.
        """
        self.normalizer.fit(episodes, self._resolution())

    def _resolution(self) -> np.ndarray:
        """(F,) what the sensors tell apart: of a state all that there is."""
        codes = torch.cat([coder.resolution for _, coder in self.coders.each()])
        return np.pad(codes.numpy(), (0, self.embedding_size - len(codes)))

    def config(self) -> dict[str, Any]:
        """The values of :class:`CameraWorldConfig`."""
        return asdict(self.shape)

    def encode(self, observation: Observation) -> Tensor:
        """Embed what was observed: (B, F), NaN for each sensor that is missing."""
        given = [*observation.frames.values(), *([] if observation.state is None else [observation.state])]
        if not given:
            raise ValueError("a camera model observes frames, and none were given")
        rows, device = len(given[0]), given[0].device
        parts = [self.coders.encode(name, observation.frames.get(name), rows, device) for name in self.coders.names]
        if self.shape.proprioception:
            hidden = torch.full((rows, self.task.observation_space.size), torch.nan, device=device)
            parts.append(hidden if observation.state is None else observation.state)
        return torch.cat(parts, -1)

    def observe(
        self, latent: LatentState | None, action: Tensor | None, embedding: Tensor, noise: Tensor | None = None
    ) -> LatentState:
        """Believe the embedding, and imagine what it lacks: every member goes on from one common latent state."""
        rows, members = len(embedding), self.shape.members
        if latent is None or action is None:
            # Nothing is known of what came before: the robot is taken to be at rest, as where episodes begin.
            appearance = torch.where(embedding.isnan(), self.normalizer.mean, embedding)
            memory = self._begin(appearance)
            member = draw_members(noise, rows, members, embedding.device)
        else:
            member = latent["member"]
            before, memory = (show_member(latent[name], member) for name in ("appearance", "memory"))
            scaled = self.normalizer.action(action)
            appearance = self._fill(embedding, before, memory, scaled)
            memory = self._remember(memory, before, scaled, appearance)
        return self._common(appearance, memory, member)

    def choose(self, latent: LatentState, noise: Tensor | None) -> LatentState:
        """Draw the member whose trajectory a row shows; None for the mean of all."""
        member = draw_members(noise, len(latent), self.shape.members, latent["member"].device)
        return LatentState({**latent.values, "member": member})

    def imagine(self, latent: LatentState, action: Tensor, noise: Tensor | None = None) -> LatentState:
        """Advance every member's own trajectory by one step. Nothing is drawn: a row keeps its member."""
        before, memory = latent["appearance"].transpose(0, 1), latent["memory"].transpose(0, 1)
        scaled = self.normalizer.action(action).expand(self.shape.members, -1, -1)
        following = self._follow(before, memory, scaled)
        reward, logit = self._judge(before, scaled, following)
        reward = self.normalizer.bound_reward(self.normalizer.reward_mean + self.normalizer.reward_std * reward)
        logit = torch.where(self.normalizer.terminates, logit, torch.full_like(logit, -torch.inf))
        return LatentState(
            {
                "appearance": following.transpose(0, 1),
                "memory": self._remember(memory, before, scaled, following).transpose(0, 1),
                "member": latent["member"],
                "reward": show_member(reward.transpose(0, 1), latent["member"]),
                "continuation": show_member(torch.sigmoid(-logit).transpose(0, 1), latent["member"]),
                "spread": self.normalizer.error(following - following.mean(0)).square().mean(0).sqrt(),
            }
        )

    def predict(self, latent: LatentState) -> Prediction:
        """Reward, continuation and spread, and the state where it is a sensor. Pictures: see :meth:`draw`."""
        state = self._shown(latent)[:, -self.task.observation_space.size :] if self.shape.proprioception else None
        return Prediction(latent["reward"], latent["continuation"], latent["spread"], state)

    def features(self, latent: LatentState, prediction: Prediction) -> Tensor:
        """The shown appearance: (B, F)."""
        return self._shown(latent)

    def vector(self, latent: LatentState) -> Tensor:
        """The shown appearance, in training standard deviations, and the memory: (B, F + K)."""
        memory = show_member(latent["memory"], latent["member"])
        return torch.cat([self.normalizer.observation(self._shown(latent)), memory], -1)

    def recover(self, vector: Tensor, noise: Tensor | None = None) -> LatentState:
        """The latent state, common to all members, whose :meth:`vector` (B, F + K) this is.

        Args:
            vector: of a filtered latent state.
            noise: (B, 1) uniform in (0, 1), which draws the member that a row shows; None for the mean of all.
        """
        scaled, memory = vector.split([self.embedding_size, self.shape.memory], -1)  # type: ignore[no-untyped-call]
        member = draw_members(noise, len(vector), self.shape.members, vector.device)
        return self._common(scaled * self.normalizer.std + self.normalizer.mean, memory, member)

    def draw(self, latent: LatentState) -> Mapping[str, Tensor]:
        """What every camera would show: name -> (B, 3, H, W) in [0, 1]."""
        return self.coders.decode(self._shown(latent))

    def loss(self, segment: Segment, horizon: int) -> Loss:
        """Squared error of the appearance along the model's own rollouts, and of the judge on recorded transitions.

        The filter is run through the whole window. Rollouts begin at its first step and after every further
        ``context`` steps. From the first step of a window that begins amid an episode nothing can tell how the robot
        moves, so a rollout from there counts only where the episode itself ``begins``: what the filter assumes of a
        single frame is what is true of beginnings. Members do not share rows.
        """
        actions = self.normalizer.action(segment.actions)
        seen, memory = self._filter(segment.observations, actions)
        rows = deal_rows(len(actions), self.shape.members, actions.device)
        starts = range(0, actions.shape[1] - horizon + 1, max(1, self.context))

        def cut(values: Tensor, length: int, first: int = 0) -> Tensor:
            dealt = values[rows]
            return torch.cat([dealt[:, :, start + first : start + first + length] for start in starts], 1)

        state, kept = cut(seen, 1)[:, :, 0], cut(memory, 1)[:, :, 0]
        acted, truth, mask = cut(actions, horizon), cut(segment.observations, horizon, 1), cut(segment.mask, horizon)
        if segment.begins is not None:
            mask[:, : rows.shape[1]] *= segment.begins[rows].unsqueeze(-1)
        squares = []
        for step in range(horizon):
            following = self._follow(state, kept, acted[:, :, step])
            kept = self._remember(kept, state, acted[:, :, step], following)
            state = following
            # What was not observed is NaN, and asks for nothing.
            error = torch.where(truth[:, :, step].isnan(), torch.zeros_like(state), truth[:, :, step] - state)
            error = error / self.normalizer.delta_std * self.normalizer.moving
            squares.append(error.square().mean(-1))
        appearance = (torch.stack(squares, -1) * mask).sum() / mask.sum().clamp(min=1)
        reward, termination = self._judge_loss(segment, rows, seen, actions)
        parts = {"appearance": appearance, "reward": reward, "termination": termination}
        return Loss(appearance + reward + termination, {name: value.detach() for name, value in parts.items()})

    def _filter(self, embeddings: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Appearances (B, L+1, F) without a hole and memories (B, L+1, K) along recorded windows."""
        seen = [torch.where(embeddings[:, 0].isnan(), self.normalizer.mean, embeddings[:, 0])]
        memory = [self._begin(seen[0])]
        holes = bool(embeddings.isnan().any())
        for step in range(actions.shape[1]):
            observed = embeddings[:, step + 1]
            seen.append(self._fill(observed, seen[-1], memory[-1], actions[:, step]) if holes else observed)
            memory.append(self._remember(memory[-1], seen[-2], actions[:, step], seen[-1]))
        return torch.stack(seen, 1), torch.stack(memory, 1)

    def _judge_loss(self, segment: Segment, rows: Tensor, seen: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Squared error of the reward and cross-entropy of the termination, on the recorded transitions."""
        before, after, acted = (values[rows].flatten(1, 2) for values in (seen[:, :-1], seen[:, 1:], actions))
        reward, logit = self._judge(before, acted, after)
        mask = segment.mask[rows].flatten(1)
        truth = (segment.rewards[rows].flatten(1) - self.normalizer.reward_mean) / self.normalizer.reward_std
        ended = segment.terminations[rows].flatten(1)
        crossed = F.binary_cross_entropy_with_logits(logit, ended, reduction="none")
        count = mask.sum().clamp(min=1)
        return ((reward - truth).square() * mask).sum() / count, (crossed * mask).sum() / count

    def _common(self, appearance: Tensor, memory: Tensor, member: Tensor) -> LatentState:
        """One appearance (B, F) and memory (B, K) for all members, of which row by row ``member`` (B,) is shown."""
        rows, members = len(appearance), self.shape.members
        return LatentState(
            {
                "appearance": appearance.unsqueeze(1).repeat(1, members, 1),
                "memory": memory.unsqueeze(1).repeat(1, members, 1),
                "member": member,
                "reward": appearance.new_zeros(rows),
                "continuation": appearance.new_ones(rows),
                "spread": appearance.new_zeros(rows),
            }
        )

    def _shown(self, latent: LatentState) -> Tensor:
        return show_member(latent["appearance"], latent["member"])

    def _begin(self, appearance: Tensor) -> Tensor:
        """The memory (B, K) after the first look."""
        memory = appearance.new_zeros(len(appearance), self.shape.memory)
        at_rest = appearance.new_zeros(len(appearance), self.task.action_space.size)
        return self._remember(memory, appearance, at_rest, appearance)

    def _remember(self, memory: Tensor, before: Tensor, action: Tensor, after: Tensor) -> Tensor:
        """The memory (..., K) after a step from one appearance (..., F) to the next."""
        change = (after - before) / self.normalizer.delta_std
        inputs = torch.cat([self.normalizer.observation(after), change, action], -1)
        kept: Tensor = self.recall(inputs.flatten(0, -2), memory.flatten(0, -2))
        return kept.view(memory.shape)

    def _follow(self, before: Tensor, memory: Tensor, action: Tensor) -> Tensor:
        """The next appearance (M, B, F) after the scaled action (M, B, A), of each member."""
        change = self.dynamics(torch.cat([self.normalizer.observation(before), memory, action], -1))
        return self.normalizer.bound(before + change * (self.normalizer.delta_std * self.normalizer.moving))

    def _fill(self, embedding: Tensor, before: Tensor, memory: Tensor, action: Tensor) -> Tensor:
        """An embedding (B, F) with what all members together imagine in place of what was not observed."""
        members = self.shape.members
        spread = (value.expand(members, *value.shape) for value in (before, memory, action))
        return torch.where(embedding.isnan(), self._follow(*spread).mean(0).detach(), embedding)

    def _judge(self, before: Tensor, action: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised reward and logit of termination (M, B) of a transition."""
        scaled = (self.normalizer.observation(value) for value in (before, after))
        verdict = self.judge(torch.cat([*scaled, action], -1))
        return verdict[..., 0], verdict[..., 1]


def _chosen_cameras(task: TaskSpec, names: Sequence[str]) -> tuple[CameraSpec, ...]:
    known = {camera.name: camera for camera in task.cameras}
    for name in names:
        if name not in known:
            raise ConfigError(f"camera {name!r} does not exist: {task.name} recorded {', '.join(known) or 'none'}")
    chosen = tuple(known[name] for name in names) if names else task.cameras
    if not chosen:
        raise ConfigError(f"{task.name} records no camera, which the camera model needs: family=state does without")
    return chosen
