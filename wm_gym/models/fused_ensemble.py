"""A compiled view of a :class:`~wm_gym.models.state_ensemble.StateEnsemble`: a step of B rows in preallocated tensors.

``StateEnsemble.imagine`` and ``predict`` are the reference, to be read first; what is computed here equals them but for
rounding (tests hold the two together). It is faster for these reasons alone:

- Every product and every pointwise operation writes into a buffer of its own, in place where that is possible.
- Scales are folded into the weights beside them: 1/std into the first layers, the deviation of a step's change and of
  the reward into the last ones. Means are still subtracted first, as folding them would cost digits.
- The ridge regression is added to the last layer's product in place.
- A row that shows one member asks only that member for reward and termination: rows are dealt into one block for each
  member, padded to the largest, so that a layer is still one product.
- Where nothing samples, the variance is never computed.

Where nobody asks how far the members disagree, :class:`FusedShown` imagines each row by its own member alone.

The two soft clamps of the log-variance come to ``variance = e^low + e^high * sigmoid(log_variance - high)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from wm_gym.errors import ObservationError
from wm_gym.models.members import MEAN
from wm_gym.models.state_ensemble import LOG_VARIANCE, EnsembleMLP, StateEnsemble

_ALONE = 2**16
"""Up to so many hidden numbers in a layer (65 rows of 5 x 200), other threads cost more to wake than they help."""
_BLOCK = 16
"""The blocks of the judge grow and shrink by so many rows, so that views of buffers are seldom made anew."""


@dataclass(frozen=True)
class Outcome:
    """What a step of B rows came to."""

    trajectories: Tensor
    """(B, M, S) of each member."""
    state: Tensor
    """(B, S) shown."""
    reward: Tensor
    """(B,)."""
    continuation: Tensor
    """(B,) probability."""
    spread: Tensor
    """(B,)."""


class FusedEnsemble:
    """One ensemble and B rows, which sample and show one member each, or show the mean."""

    def __init__(self, model: StateEnsemble, rows: int, sampled: bool) -> None:
        """Read the weights, and make room.

        Args:
            model: on the CPU; later changes of its weights are not seen.
            rows: B.
            sampled: whether rows show a member each; False for the mean of all.
        """
        described = model.task.observation_map
        self._angles, self._quaternions = described.angles, described.quaternions
        self._pairs = torch.tensor(described.sin_cos, dtype=torch.int64)
        self._members, self._sampled = model.shape.members, sampled
        self.rows = rows
        """B."""
        self._size, self._actions = model.task.observation_space.size, model.task.action_space.size
        self._seen = self._size + len(self._angles)  # features of a state
        self._scales = model.normalizer
        self._low, self._high = model.normalizer.bounds
        self._fold(model)
        self._reserve(rows)
        self._dealt, self._height = torch.full((rows,), MEAN), 0
        self._outcomes = [self._outcome() for _ in range(2)]  # one is read while the other is written
        if not sampled:
            self._shape_blocks(rows)

    def advance(self, trajectories: Tensor, member: Tensor, action: Tensor, noise: Tensor | None) -> Outcome:
        """Take one step. What is returned is written again by the next call but one.

        Args:
            trajectories: (B, M, S), not written.
            member: (B,) that each row shows; not read unless sampled, and never ``MEAN`` then.
            action: (B, A).
            noise: (B, S) uniform in (0, 1); None for the mean.
        """
        threads = torch.get_num_threads()
        if threads == 1 or self._hidden[0].numel() > _ALONE:
            return self._advance(trajectories, member, action, noise)
        torch.set_num_threads(1)
        try:
            return self._advance(trajectories, member, action, noise)
        finally:
            torch.set_num_threads(threads)

    def _advance(self, trajectories: Tensor, member: Tensor, action: Tensor, noise: Tensor | None) -> Outcome:
        outcome = self._free_outcome(trajectories)
        following = outcome.trajectories.transpose(0, 1)
        self._propagate(trajectories.transpose(0, 1), action, noise, following)
        self._measure_spread(following, outcome.spread)
        if self._sampled:
            self._deal(member)
            torch.index_select(following.view(-1, self._size), 0, self._own, out=outcome.state)
        else:
            outcome.state.copy_(self._mean)
        self._project(outcome.state)
        self._judge(following, outcome)
        return outcome

    def _free_outcome(self, trajectories: Tensor) -> Outcome:
        """The one that is not being read."""
        first, second = self._outcomes
        return second if trajectories.data_ptr() == first.trajectories.data_ptr() else first

    def _fold(self, model: StateEnsemble) -> None:
        """Take the weights, with the scales in them."""
        scales, size, angles = self._scales, self._size, list(self._angles)
        inverse = scales.std.reciprocal()
        inverse[angles] = 1.0  # a sine and a cosine have no scale
        features = torch.cat([inverse, torch.ones(len(angles))])
        inputs = torch.cat([features, scales.action_scale.reciprocal()]).unsqueeze(-1)
        self._layers = _scaled_layers(model.dynamics, inputs)
        weight, bias = self._layers.pop()
        step = scales.delta_std * scales.moving
        low, high = LOG_VARIANCE
        self._change_layer = (weight[..., :size] * step, (bias[..., :size] + model.linear[-1]) * step)
        self._linear = model.linear[:-1] * inputs * step
        self._variance_layer = (weight[..., size:].contiguous(), bias[..., size:] - high)
        self._least, self._range = math.exp(low), math.exp(high)
        self._noise_scale = math.sqrt(2) * model.temperature * step
        self._judge_layers = _scaled_layers(model.judge, torch.cat([inputs, features.unsqueeze(-1)]))
        weight, bias = (tensor.clone() for tensor in self._judge_layers.pop())
        weight[..., 0] *= scales.reward_std
        bias[..., 0] = bias[..., 0] * scales.reward_std + scales.reward_mean
        self._verdict_layer = (weight, bias)
        self._lowest_reward, self._highest_reward = (bound.item() for bound in scales.reward_bounds)
        # The mean over members and moving dimensions, of squares in squared deviations.
        moving = scales.moving.sum().clamp(min=1) * self._members
        self._error_weight = scales.moving / scales.std.square() / moving

    def _reserve(self, rows: int) -> None:
        """Make the buffers of so many rows of each member."""
        members, size = self._members, self._size
        self._inputs = torch.zeros(members, rows, self._seen + self._actions)
        self._hidden = [torch.zeros(members, rows, bias.shape[-1]) for _, bias in self._layers]
        self._change, self._deviation = torch.zeros(2, members, rows, size)
        self._mean, self._squares = torch.zeros(2, rows, size)
        # The judge's blocks change their height: their buffers are vectors, and the views of them come and go.
        widths = [size, 2 * self._seen + self._actions, *(bias.shape[-1] for _, bias in self._judge_layers), 2]
        self._judge_widths, self._judge_room = widths, [torch.zeros(members * rows * width) for width in widths]

    def _outcome(self) -> Outcome:
        rows, size = self.rows, self._size
        return Outcome(
            trajectories=torch.zeros(self._members, rows, size).transpose(0, 1),
            state=torch.zeros(rows, size),
            reward=torch.zeros(rows),
            continuation=torch.zeros(rows),
            spread=torch.zeros(rows),
        )

    def _propagate(self, state: Tensor, action: Tensor, noise: Tensor | None, following: Tensor) -> None:
        """Every member's own next state: (M, B, S) in and out; actions and noise (B, ...) or (M, B, ...)."""
        self._take_features(state, self._inputs[..., : self._seen])
        action = action.expand(self._members, -1, -1)
        torch.sub(action, self._scales.action_mean, out=self._inputs[..., self._seen :])
        hidden = _forward(self._layers, self._inputs, self._hidden)
        change, (weight, bias) = self._change, self._change_layer
        torch.baddbmm(bias, hidden, weight, out=change)
        change.view(-1, self._size).addmm_(self._inputs.flatten(0, 1), self._linear)
        if noise is not None:
            weight, bias = self._variance_layer
            deviation = torch.baddbmm(bias, hidden, weight, out=self._deviation)
            deviation.sigmoid_().mul_(self._range).add_(self._least).sqrt_()
            change.addcmul_(deviation, torch.erfinv(2 * noise - 1).mul_(self._noise_scale))
        torch.add(state, change, out=following)
        self._project(following)
        torch.clamp(following.nan_to_num_(nan=torch.inf), self._low, self._high, out=following)

    def _take_features(self, state: Tensor, features: Tensor) -> None:
        """As a ``StateEnsemble`` takes them, but for the scale, which is in the weights."""
        torch.sub(state, self._scales.mean, out=features[..., : self._size])
        for place, angle in enumerate(self._angles):
            torch.sin(state[..., angle], out=features[..., angle])
            torch.cos(state[..., angle], out=features[..., self._size + place])

    def _project(self, state: Tensor) -> None:
        """Put sine-cosine pairs and quaternions back on the unit circle and sphere, in place."""
        if len(self._pairs):
            pairs = state[..., self._pairs]
            length = torch.linalg.vector_norm(pairs, dim=-1, keepdim=True).clamp_(min=1e-6)
            state[..., self._pairs] = pairs.div_(length)
        for first in self._quaternions:
            turned = state[..., first : first + 4]
            turned.div_(torch.linalg.vector_norm(turned, dim=-1, keepdim=True).clamp_(min=1e-6))

    def _measure_spread(self, following: Tensor, spread: Tensor) -> None:
        torch.sum(following, 0, out=self._mean).div_(self._members)
        torch.sub(following, self._mean, out=self._change).square_()
        torch.sum(self._change, 0, out=self._squares)
        torch.mv(self._squares, self._error_weight, out=spread).sqrt_()

    def _deal(self, member: Tensor) -> bool:
        """Give every row a place in the block of the member that it shows; False where they have theirs already."""
        if torch.equal(member, self._dealt):
            return False
        counts = torch.bincount(member, minlength=self._members)
        if len(counts) > self._members:
            raise ObservationError(f"a row shows member {len(counts) - 1} of {self._members}: another model's state")
        self._shape_blocks(min(-(-int(counts.max()) // _BLOCK) * _BLOCK, self.rows))
        order, number = torch.argsort(member, stable=True), torch.arange(self.rows)
        first = torch.arange(self._members) * self._height - (counts.cumsum(0) - counts)
        self._places = torch.empty_like(member)  # of each row, among the blocks
        self._places[order] = number + first[member[order]]
        self._own = member * self.rows + number  # of each row, among all trajectories
        self._filled_by = torch.zeros(self._members * self._height, dtype=torch.int64)
        self._filled_by[self._places] = self._own
        self._dealt.copy_(member)  # last: what failed on the way is not held to be done
        return True

    def _shape_blocks(self, height: int) -> None:
        """Views of the judge's buffers as blocks (M, height, ...)."""
        if height != self._height:
            self._height, members = height, self._members
            self._after, self._pair, *self._verdicts = (
                room[: members * height * width].view(members, height, width)
                for room, width in zip(self._judge_room, self._judge_widths, strict=True)
            )

    def _judge(self, following: Tensor, outcome: Outcome) -> None:
        """Reward and probability of continuing, by the member that a row shows, or the mean over all of them."""
        before = self._inputs
        if self._sampled:
            before = before.flatten(0, 1).index_select(0, self._filled_by).view(self._members, self._height, -1)
            after = self._after.flatten(0, 1)
            torch.index_select(following.view(-1, self._size), 0, self._filled_by, out=after)
            following = self._after
        said = self._ask(before, following)
        if self._sampled:
            said = said.index_select(0, self._places)
        self._rule(said, outcome)

    def _ask(self, before: Tensor, following: Tensor) -> Tensor:
        """Every member's reward and logit of termination (M * height, 2) of transitions in its block."""
        width = self._seen + self._actions
        self._pair[..., :width] = before
        self._take_features(following, self._pair[..., width:])
        hidden = _forward(self._judge_layers, self._pair, self._verdicts)
        weight, bias = self._verdict_layer
        return torch.baddbmm(bias, hidden, weight, out=self._verdicts[-1]).view(-1, 2)

    def _rule(self, said: Tensor, outcome: Outcome) -> None:
        """Write reward and continuation: of one member (B, 2), or the mean of what all (M * B, 2) said."""
        reward, logit = said.view(-1, self.rows, 2).unbind(-1)
        reward = reward.nan_to_num(nan=-torch.inf).clamp_(self._lowest_reward, self._highest_reward)
        torch.mean(reward, 0, out=outcome.reward)
        if self._scales.terminates:
            torch.mean(torch.sigmoid(-logit), 0, out=outcome.continuation)
        else:
            outcome.continuation.fill_(1.0)


class FusedShown(FusedEnsemble):
    """B rows that are imagined by the member that they show and by no other: trajectories (B, 1, S), no spread.

    Rows are dealt into one block for each member, as for the judge, and padded to about the largest: blocks shrink
    late, so that buffers are seldom made anew.
    """

    def __init__(self, model: StateEnsemble, rows: int) -> None:
        """As :class:`FusedEnsemble`; rows always sample."""
        super().__init__(model, rows, sampled=True)

    def _advance(self, trajectories: Tensor, member: Tensor, action: Tensor, noise: Tensor | None) -> Outcome:
        outcome = self._free_outcome(trajectories)
        self._deal(member)

        def blocks(values: Tensor) -> Tensor:
            return values.index_select(0, self._filled_rows).view(self._members, self._height, -1)

        self._propagate(
            blocks(trajectories[:, 0]), blocks(action), None if noise is None else blocks(noise), self._after
        )
        after = self._after.flatten(0, 1)
        torch.index_select(after, 0, self._places, out=outcome.trajectories[:, 0])
        self._project(outcome.state.copy_(outcome.trajectories[:, 0]))
        self._rule(self._ask(self._inputs, self._after).index_select(0, self._places), outcome)
        return outcome

    def _deal(self, member: Tensor) -> bool:
        dealt = super()._deal(member)
        if dealt:
            self._filled_rows = self._filled_by % self.rows  # the row in each place, whatever its member
        return dealt

    def _reserve(self, rows: int) -> None:
        super()._reserve(min(_BLOCK, rows))

    def _outcome(self) -> Outcome:
        return replace(super()._outcome(), trajectories=torch.zeros(self.rows, 1, self._size))

    def _shape_blocks(self, height: int) -> None:
        if not self._height - 2 * _BLOCK < height <= self._height:
            super()._reserve(height)
            super()._shape_blocks(height)


def _scaled_layers(network: EnsembleMLP, scale: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases of every layer, with the scale (in, 1) of the inputs in the first."""
    layers = [(weight.detach(), bias.detach()) for weight, bias in zip(network.weights, network.biases, strict=True)]
    return [(layers[0][0] * scale, layers[0][1]), *layers[1:]]


def _forward(layers: list[tuple[Tensor, Tensor]], x: Tensor, hidden: list[Tensor]) -> Tensor:
    """The hidden layers, each into a buffer of its own."""
    for (weight, bias), out in zip(layers, hidden, strict=False):
        x = F.silu(torch.baddbmm(bias, x, weight, out=out), inplace=True)
    return x
