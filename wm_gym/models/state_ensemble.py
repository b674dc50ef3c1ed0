"""The state model: an ensemble of probabilistic networks over proprioception, trained on its own predictions.

Every member carries *its own* trajectory through imagination and answers for it, so that the distance between the
trajectories measures the error accumulated since the start, at the price that asking every member about one common
state would have cost anyway. A rollout shows the trajectory of one member, or the mean of all.

What is linear in the robot is not learnt by gradient: a ridge regression of one step's change, solved once, stands
under the networks, which learn the rest.

Sources: probabilistic ensembles and trajectory sampling from Chua et al. 2018 (PETS, section 4, "TS-infinity");
autoregressive training over many steps from Li et al. 2025 (RWM, section III).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wm_gym.errors import ConfigError
from wm_gym.models.members import MEAN, deal_rows, draw_members, show_member
from wm_gym.models.normalization import Normalizer
from wm_gym.models.world_model import Loss, WorldModel
from wm_gym.types import Episode, LatentState, Observation, Prediction, Segment, TaskSpec

LOG_VARIANCE = (-10.0, 0.5)
"""Fixed bounds: learnt ones drift, and sigma collapses with them."""
_RIDGE = 1e-4  # relative to inputs of unit variance
_LIKELIHOOD_WEIGHT = 0.1  # the variance has an output layer of its own; its pull on the shared trunk stays small


@dataclass(frozen=True)
class StateEnsembleConfig:
    """The size of the networks: 5 x (3 x 200 + heads) is about 1 MFLOP a step for a small robot."""

    members: int = 5
    width: int = 200
    layers: int = 3
    head_width: int = 96
    """Of the network that judges a transition: reward and termination."""
    head_layers: int = 3


class StateEnsemble(WorldModel):
    """Dynamics, reward and termination of a robot whose state is observed.

    The latent state holds ``trajectories`` (B, M, S) raw observations, one of each member, or (B, 1, S) of the shown
    one alone; ``member`` (B,) the one that the row shows, or -1 for the mean; ``reward`` (B,), ``continuation`` (B,)
    probability and ``spread`` (B,), which is zero where nothing is carried to disagree.
    """

    family: ClassVar[str] = "state_ensemble"
    can_omit: ClassVar[bool] = True
    temperature: Tensor
    """Scalar: the share of the predicted standard deviation that imagination samples; see ``temperature.py``."""
    linear: Tensor
    """(F+A+1, S): one step's change, in its own standard deviations, from features, scaled action and 1."""
    context = 0

    def __init__(self, task: TaskSpec, config: StateEnsembleConfig | None = None) -> None:
        super().__init__(task)
        self.shape = config or StateEnsembleConfig()
        if self.shape.members < 2:
            raise ConfigError(f"members={self.shape.members}: at least 2, or nothing tells how far they disagree")
        size, actions, members = task.observation_space.size, task.action_space.size, self.shape.members
        self.obs_types = ("state",)
        self.noise_size = size
        self.normalizer = Normalizer(size, task.action_space)
        described = task.observation_map
        self._angles = list(described.angles)
        self._sin = [pair[0] for pair in described.sin_cos]
        self._cos = [pair[1] for pair in described.sin_cos]
        self._quaternions = list(described.quaternions)
        features = size + len(self._angles)
        self.dynamics = EnsembleMLP(members, features + actions, self.shape.width, self.shape.layers, 2 * size)
        self.judge = EnsembleMLP(members, 2 * features + actions, self.shape.head_width, self.shape.head_layers, 2)
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("linear", torch.zeros(features + actions + 1, size))

    def fit_scales(self, episodes: Sequence[Episode]) -> None:
        """Measure the training episodes: the scales of the normalizer, then the linear part of the dynamics."""
        self.normalizer.fit(episodes)
        before = torch.from_numpy(np.concatenate([episode.observations[:-1] for episode in episodes]))
        after = torch.from_numpy(np.concatenate([episode.observations[1:] for episode in episodes]))
        actions = torch.from_numpy(np.concatenate([episode.actions for episode in episodes]))
        inputs = torch.cat([self._features(before), self.normalizer.action(actions), torch.ones(len(before), 1)], -1)
        change = (after - before) / self.normalizer.delta_std * self.normalizer.moving
        gram = inputs.T.double() @ inputs.double() / len(inputs)
        ridge = _RIDGE * torch.eye(len(gram), dtype=gram.dtype)
        self.linear.copy_(torch.linalg.solve(gram + ridge, inputs.T.double() @ change.double() / len(inputs)))

    def config(self) -> dict[str, Any]:
        """The values of :class:`StateEnsembleConfig`."""
        return asdict(self.shape)

    def encode(self, observation: Observation) -> Tensor:
        """The raw state observation itself: (B, S)."""
        if observation.state is None:
            raise ValueError("a state model observes the state, and none was given")
        return observation.state

    def observe(
        self, latent: LatentState | None, action: Tensor | None, embedding: Tensor, noise: Tensor | None = None
    ) -> LatentState:
        """Believe the observation: every member starts there. ``noise`` draws the member that the row will show."""
        rows = len(embedding)
        believed = LatentState(
            {
                "trajectories": embedding.unsqueeze(1).repeat(1, self.shape.members, 1),
                "member": torch.full((rows,), MEAN, device=embedding.device) if latent is None else latent["member"],
                "reward": embedding.new_zeros(rows),
                "continuation": embedding.new_ones(rows),
                "spread": embedding.new_zeros(rows),
            }
        )
        return self.choose(believed, noise) if latent is None else believed

    def choose(self, latent: LatentState, noise: Tensor | None) -> LatentState:
        """Draw the member whose trajectory a row shows; None for the mean of all."""
        member = latent["member"]
        return LatentState(
            {**latent.values, "member": draw_members(noise, len(member), self.shape.members, member.device)}
        )

    def carries_all(self, latent: LatentState) -> bool:
        """Whether the trajectories of all members are there."""
        return latent["trajectories"].shape[1] > 1

    def keep_shown(self, latent: LatentState) -> LatentState:
        """Carry the shown trajectory alone: (B, 1, S)."""
        return LatentState({**latent.values, "trajectories": self._shown(latent).unsqueeze(1)})

    def imagine(self, latent: LatentState, action: Tensor, noise: Tensor | None = None) -> LatentState:
        """Advance every member's own trajectory by one step, all with the same noise."""
        members = self.shape.members
        if not self.carries_all(latent):  # the reference of what ``FusedShown`` asks each row's member alone
            everywhere = latent["trajectories"].expand(-1, members, -1)
            told = self.keep_shown(
                self.imagine(LatentState({**latent.values, "trajectories": everywhere}), action, noise)
            )
            return LatentState({**told.values, "spread": torch.zeros_like(told["spread"])})
        state = latent["trajectories"].transpose(0, 1)
        action = self.normalizer.action(action).expand(members, -1, -1)
        mean, log_variance = self._change(state, action)
        if noise is not None:
            mean = mean + self.temperature * (0.5 * log_variance).exp() * _standard_normal(noise)
        following = self._follow(state, mean)
        reward, logit = self._judge(state, action, following)
        reward = self.normalizer.bound_reward(self.normalizer.reward_mean + self.normalizer.reward_std * reward)
        logit = torch.where(self.normalizer.terminates, logit, torch.full_like(logit, -torch.inf))
        return LatentState(
            {
                "trajectories": following.transpose(0, 1),
                "member": latent["member"],
                "reward": show_member(reward.transpose(0, 1), latent["member"]),
                "continuation": show_member(torch.sigmoid(-logit).transpose(0, 1), latent["member"]),
                "spread": self.normalizer.error(following - following.mean(0)).square().mean(0).sqrt(),
            }
        )

    def predict(self, latent: LatentState) -> Prediction:
        """Show the trajectory of the row's member, or the mean of all."""
        return Prediction(
            reward=latent["reward"],
            continuation=latent["continuation"],
            spread=latent["spread"],
            state=self._project(self._shown(latent)),
        )

    def loss(self, segment: Segment, horizon: int) -> Loss:
        """Squared error of the mean along the model's own rollout, likelihood of the variance at its first step.

        The variance learns from the first step alone: later on it would learn the error that the rollout has
        accumulated, and a sampled rollout would then add that error anew at every step. Members do not share rows.
        """
        members = self.shape.members
        rows = deal_rows(len(segment.actions), members, segment.actions.device)
        observed, mask = segment.observations[rows], segment.mask[rows][:, :, :horizon]
        actions = self.normalizer.action(segment.actions[rows])
        state, likelihood = observed[:, :, 0], observed.new_zeros(())
        weight, squares = self._weight(), []
        for step in range(horizon):
            mean, log_variance = self._change(state, actions[:, :, step])
            error = (observed[:, :, step + 1] - state) / self.normalizer.delta_std - mean
            error = error * self.normalizer.moving
            squares.append((error.square() * weight).mean(-1))
            if step == 0:
                surprise = error.detach().square() * (-log_variance).exp() + log_variance
                likelihood = 0.5 * (surprise.mean(-1) * mask[:, :, 0]).sum() / mask[:, :, 0].sum().clamp(min=1)
            # What is fed back is the mean; runs that fed back samples predicted worse (docs/log.md).
            state = self._follow(state, mean)
        count = mask.sum().clamp(min=1)
        dynamics = (torch.stack(squares, -1) * mask).sum() / count
        reward, termination = self._judge_loss(segment, rows, actions, horizon)
        total = dynamics + reward + termination + _LIKELIHOOD_WEIGHT * likelihood
        parts = {"dynamics": dynamics, "reward": reward, "termination": termination, "likelihood": likelihood}
        return Loss(total, {name: value.detach() for name, value in parts.items()})

    def _shown(self, latent: LatentState) -> Tensor:
        """(B, S) of the row's member, or the mean of all."""
        carried = latent["trajectories"]
        return show_member(carried, latent["member"]) if self.carries_all(latent) else carried[:, 0]

    def _weight(self) -> Tensor:
        """(S,) of a squared error in deviations of the change: half as it is, half as a share of the state's deviation.

        The first keeps slow dimensions exact, which pays over many steps; the second is what a rollout is judged by.
        """
        moved = (self.normalizer.delta_std / self.normalizer.std).square()
        return (1 + moved / moved.mean()) / 2

    def _judge_loss(self, segment: Segment, rows: Tensor, actions: Tensor, horizon: int) -> tuple[Tensor, Tensor]:
        """Squared error of the reward and cross-entropy of the termination, on the recorded transitions themselves.

        Along the rollout they would learn to forgive its errors: a reward that is sharp in the robot's own states came
        out rounded, and the imagination under-promised (docs/log.md).
        """
        observed, mask = segment.observations[rows], segment.mask[rows][:, :, :horizon].flatten(1)
        before, after = observed[:, :, :horizon].flatten(1, 2), observed[:, :, 1 : horizon + 1].flatten(1, 2)
        reward, logit = self._judge(before, actions[:, :, :horizon].flatten(1, 2), after)
        truth = (
            segment.rewards[rows][:, :, :horizon].flatten(1) - self.normalizer.reward_mean
        ) / self.normalizer.reward_std
        ended = segment.terminations[rows][:, :, :horizon].flatten(1)
        crossed = F.binary_cross_entropy_with_logits(logit, ended, reduction="none")
        count = mask.sum().clamp(min=1)
        return ((reward - truth).square() * mask).sum() / count, (crossed * mask).sum() / count

    def _features(self, state: Tensor) -> Tensor:
        """Normalised state; an angle without a limit is shown by its sine and cosine, as it repeats itself."""
        scaled = self.normalizer.observation(state)
        if not self._angles:
            return scaled
        angle = state[..., self._angles]
        scaled = scaled.clone()
        scaled[..., self._angles] = torch.sin(angle)
        return torch.cat([scaled, torch.cos(angle)], -1)

    def _change(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (M, B, S) of one step's change, in its own standard deviations."""
        inputs = torch.cat([self._features(state), action], -1)
        mean, log_variance = self.dynamics(inputs).chunk(2, -1)
        mean = mean + inputs @ self.linear[:-1] + self.linear[-1]
        low, high = LOG_VARIANCE
        # A smooth clamp keeps a gradient at the bounds.
        log_variance = high - F.softplus(high - log_variance)
        return mean, low + F.softplus(log_variance - low)

    def _follow(self, state: Tensor, change: Tensor) -> Tensor:
        following = self._project(state + change * (self.normalizer.delta_std * self.normalizer.moving))
        return self.normalizer.bound(following)

    def _project(self, state: Tensor) -> Tensor:
        """Put sine-cosine pairs and quaternions back on the unit circle and sphere."""
        if not self._sin and not self._quaternions:
            return state
        state = state.clone()
        if self._sin:
            sine, cosine = state[..., self._sin], state[..., self._cos]
            length = (sine.square() + cosine.square()).sqrt().clamp(min=1e-6)
            state[..., self._sin], state[..., self._cos] = sine / length, cosine / length
        for first in self._quaternions:
            turned = state[..., first : first + 4].clone()  # a view that is written to would spoil the gradient
            state[..., first : first + 4] = F.normalize(turned, dim=-1, eps=1e-6)
        return state

    def _judge(self, state: Tensor, action: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised reward and logit of termination (M, B) of a transition."""
        verdict = self.judge(torch.cat([self._features(state), action, self._features(following)], -1))
        return verdict[..., 0], verdict[..., 1]


class EnsembleMLP(nn.Module):
    """M independent networks in one batched product: (M, B, in) -> (M, B, out)."""

    def __init__(self, members: int, inputs: int, width: int, layers: int, outputs: int) -> None:
        super().__init__()
        sizes = [inputs, *[width] * layers, outputs]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            weight = torch.empty(members, fan_in, fan_out)
            nn.init.trunc_normal_(weight, std=fan_in**-0.5, a=-2 * fan_in**-0.5, b=2 * fan_in**-0.5)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(members, 1, fan_out)))
        with torch.no_grad():
            self.weights[-1].mul_(0.1)  # begin near "nothing changes"

    def forward(self, x: Tensor) -> Tensor:
        """One product per layer over all members."""
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if layer < last:
                x = F.silu(x)
        return x


def _standard_normal(uniform: Tensor) -> Tensor:
    return torch.erfinv(2 * uniform - 1) * 2**0.5
