"""stable-baselines3's SAC with its update written out: the same arithmetic in less time on a processor.

Most of an update of small networks is not arithmetic but autograd's bookkeeping, one optimizer call per tensor, and
gradients of the critics that the actor's loss throws away. Here the two critics are one batched product, gradients are
written down, and Adam and the moving average of the targets each run over one flat buffer. Weights, draws and results
are SB3's own (tests/policies/test_fused_sac.py holds the two against each other), and so is everything outside of
:meth:`FusedSAC.train` and of loading: what it saves is a SAC, to be loaded with ``SAC.load``.

What it logs while it learns is the weight of the entropy alone.

Source: Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", algorithm 1, as SB3 implements it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import Tensor, nn
from torch.optim.adam import adam

from wm_gym.errors import ConfigError

_LOG_STD = (-20.0, 2.0)  # SB3's bounds
_SQUASHED = 1e-6  # SB3's, within the logarithm of tanh's slope


class FusedSAC(SAC):
    """SAC whose :meth:`train` is one fused update for dense networks on a processor.

    Raises:
        ConfigError: the policy is no ``MlpPolicy`` of ReLU layers with two critics, or the settings ask for what the
            fused update does not know: ``use_sde``, a fixed ``ent_coef``, rarer updates of the targets, ``n_steps``,
            another optimizer, a GPU.
    """

    def _setup_model(self) -> None:
        super()._setup_model()
        dense = type(self.actor.features_extractor) is FlattenExtractor and self.critic.n_critics == 2
        plain = self.policy.optimizer_class is torch.optim.Adam and not self.policy.optimizer_kwargs
        usual = self.target_update_interval == 1 and self.n_steps == 1 and self.device.type == "cpu" and plain
        if not dense or not usual or self.use_sde or self.ent_coef_optimizer is None or self.log_ent_coef is None:
            raise ConfigError(
                "FusedSAC: needs MlpPolicy with two critics and plain Adam on the CPU, an automatic ent_coef, "
                "n_steps=1, target_update_interval=1 and no use_sde"
            )
        heads = _linears([self.actor.mu, self.actor.log_std])
        self._fused_actor = _Dense([[*([layer] for layer in _linears(self.actor.latent_pi)), heads]])
        self._fused_critic = _Dense([[[layer] for layer in _linears(q)] for q in self.critic.q_networks])
        self._fused_target = _Dense([[[layer] for layer in _linears(q)] for q in self.critic_target.q_networks])
        rate = self.lr_schedule(1)
        # SB3 saves and loads optimizers by these names.
        self.actor.optimizer = torch.optim.Adam([self._fused_actor.flat], rate, fused=True)
        self.critic.optimizer = torch.optim.Adam([self._fused_critic.flat], rate, fused=True)
        self.ent_coef_optimizer = torch.optim.Adam([self.log_ent_coef], rate, fused=True)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_fused_actor", "_fused_critic", "_fused_target"]

    def get_parameters(self) -> dict[str, dict[str, Any]]:
        """Of SB3's own layout, see :class:`~stable_baselines3.SAC`: one optimizer state for each parameter."""
        assert self.log_ent_coef is not None and self.ent_coef_optimizer is not None
        entropy = torch.optim.Adam([self.log_ent_coef], self.ent_coef_optimizer.param_groups[0]["lr"])
        for name, moment in self.ent_coef_optimizer.state.get(self.log_ent_coef, {}).items():
            entropy.state[self.log_ent_coef][name] = moment.clone()
        plain = {
            "ent_coef_optimizer": entropy,
            "actor.optimizer": self._fused_actor.plain(self.actor.optimizer, self.actor.parameters()),
            "critic.optimizer": self._fused_critic.plain(self.critic.optimizer, self.critic.parameters()),
        }
        return super().get_parameters() | {name: optimizer.state_dict() for name, optimizer in plain.items()}

    @classmethod
    def load(cls, *arguments: Any, **settings: Any) -> Any:
        """Not here: see the module."""
        raise ConfigError("FusedSAC.load: what it saves is a SAC, load it with stable_baselines3.SAC.load")

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Take gradient steps, see :class:`~stable_baselines3.SAC`."""
        assert self.ent_coef_optimizer is not None and self.log_ent_coef is not None
        assert isinstance(self.replay_buffer, ReplayBuffer)
        self.policy.set_training_mode(True)
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer, self.ent_coef_optimizer])
        with torch.no_grad():
            for _ in range(gradient_steps):
                self._update(*self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)[:5])
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/ent_coef", self.log_ent_coef.exp().item())

    def _update(self, states: Tensor, actions: Tensor, following: Tensor, dones: Tensor, rewards: Tensor) -> None:
        """One gradient step of the entropy's weight, the critics and the actor, in SB3's order."""
        assert self.log_ent_coef is not None and self.ent_coef_optimizer is not None
        assert isinstance(self.target_entropy, float)
        actor, critic, rows = self._fused_actor, self._fused_critic, len(states)
        states, following = states.float(), following.float()
        acted = _Acted(actor.forward(states[None])[0])
        alpha = self.log_ent_coef.detach().exp()
        self.log_ent_coef.grad = -(acted.log_prob + self.target_entropy).mean().reshape(1)
        _step(self.ent_coef_optimizer)

        kept = actor.activations
        after = _Acted(actor.forward(following[None])[0])
        values = self._fused_target.forward(_joined(following, after.action))
        target = rewards + (1 - dones) * self.gamma * (values.amin(0) - alpha * after.log_prob)
        values = critic.forward(_joined(states, actions))
        critic.backward((values - target) / rows)
        _step(self.critic.optimizer)

        values = critic.forward(_joined(states, acted.action))
        # The gradient of the smaller value of each row, through the critic that gave it.
        smaller = (values == values.amin(0)).to(values) * (-1 / rows)
        slope = critic.input_gradient(smaller).sum(0)[:, states.shape[1] :]
        actor.activations = kept
        actor.backward(acted.gradient(slope, alpha / rows)[None])
        _step(self.actor.optimizer)
        self._fused_target.flat.data.lerp_(critic.flat.data, self.tau)


class _Acted:
    """A squashed Gaussian action drawn from what the actor's heads (B, 2A) say."""

    def __init__(self, heads: Tensor) -> None:
        mean, free = heads.chunk(2, dim=1)
        self._inside = (free > _LOG_STD[0]) & (free < _LOG_STD[1])
        log_std = free.clamp(*_LOG_STD)
        noise = torch.randn_like(mean)  # the numbers that torch.distributions draws
        self._spread = log_std.exp() * noise
        self.action = (mean + self._spread).tanh()
        self._slope = 1 - self.action.square()
        density = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi) - (self._slope + _SQUASHED).log()
        self.log_prob = density.sum(1, keepdim=True)

    def gradient(self, slope: Tensor, alpha: Tensor) -> Tensor:
        """Of ``alpha * log_prob`` and of a loss whose derivative by the action is ``slope`` (B, A): (B, 2A)."""
        before = self._slope * (slope + alpha * 2 * self.action / (self._slope + _SQUASHED))
        return torch.cat([before, (before * self._spread - alpha) * self._inside], dim=1)


class _Dense:
    """Networks of one shape, (N, B, in) -> (N, B, out), whose weights lie in one flat tensor, with their gradients.

    Args:
        networks: for each network its layers, each of one or several ``nn.Linear`` whose outputs are put side by side.
            Their parameters become views of the flat tensor.
    """

    def __init__(self, networks: Sequence[Sequence[Sequence[nn.Linear]]]) -> None:
        count, layers = len(networks), range(len(networks[0]))
        shapes = [(sum(part.out_features for part in parts), parts[0].in_features) for parts in networks[0]]
        flat = torch.zeros(count * sum(out * (size + 1) for out, size in shapes))
        self.flat = nn.Parameter(flat)
        self.flat.grad = torch.zeros_like(flat)
        self._weights, self._biases = _views(flat, count, shapes)
        self._weight_gradients, self._bias_gradients = _views(self.flat.grad, count, shapes)
        places = _views(torch.arange(len(flat)), count, shapes)
        self._places: dict[Tensor, Tensor] = {}
        for index, network in enumerate(networks):
            for layer in layers:
                first = 0
                for part in network[layer]:
                    rows = slice(first, first := first + part.out_features)
                    for parameter, mine, place in (
                        (part.weight, self._weights[layer][index, rows], places[0][layer][index, rows]),
                        (part.bias, self._biases[layer][index, 0, rows], places[1][layer][index, 0, rows]),
                    ):
                        parameter.data = mine.copy_(parameter.data)
                        self._places[parameter] = place
        self.activations: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, B, in) -> (N, B, out); what the layers were given is kept for the gradients."""
        self.activations, last = [], len(self._weights) - 1
        for layer, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            self.activations.append(inputs)
            inputs = torch.baddbmm(bias, inputs, weight.transpose(1, 2))
            if layer < last:
                inputs.relu_()
        return inputs

    def backward(self, gradient: Tensor) -> None:
        """Write the weights' gradients, given that of the outputs (N, B, out)."""
        for layer in reversed(range(len(self._weights))):
            torch.bmm(gradient.transpose(1, 2), self.activations[layer], out=self._weight_gradients[layer])
            torch.sum(gradient, 1, keepdim=True, out=self._bias_gradients[layer])
            if layer:
                gradient = self._through(layer, gradient)

    def input_gradient(self, gradient: Tensor) -> Tensor:
        """(N, B, out) -> (N, B, in): the gradient of the inputs alone."""
        for layer in reversed(range(1, len(self._weights))):
            gradient = self._through(layer, gradient)
        return torch.bmm(gradient, self._weights[0])

    def plain(self, optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter]) -> torch.optim.Adam:
        """The flat tensor's optimizer as one of the layers' own parameters."""
        plain = torch.optim.Adam(list(parameters), optimizer.param_groups[0]["lr"])
        for parameter in plain.param_groups[0]["params"]:
            for name, moment in optimizer.state.get(self.flat, {}).items():
                plain.state[parameter][name] = moment.clone() if name == "step" else moment[self._places[parameter]]
        return plain

    def _through(self, layer: int, gradient: Tensor) -> Tensor:
        """The gradient of what went into the rectifier before a layer: one pass, where a mask takes three."""
        before = torch.bmm(gradient, self._weights[layer])
        masked: Tensor = torch.ops.aten.threshold_backward(before, self.activations[layer], 0)
        return masked


def _step(optimizer: torch.optim.Optimizer) -> None:
    """Adam's step of one parameter without the bookkeeping of ``step()``, which takes several times as long."""
    (group,) = optimizer.param_groups
    (parameter,) = group["params"]
    if not (state := optimizer.state.get(parameter)):
        optimizer.step()  # lays out its moments
        return
    adam(
        [parameter],
        [parameter.grad],
        [state["exp_avg"]],
        [state["exp_avg_sq"]],
        [],
        [state["step"]],
        fused=True,
        amsgrad=False,
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=False,
    )


def _views(flat: Tensor, count: int, shapes: Sequence[tuple[int, int]]) -> tuple[list[Tensor], list[Tensor]]:
    """A flat tensor's parts: weights (N, out, in) and biases (N, 1, out)."""
    weights, biases, first = [], [], 0
    for out, size in shapes:
        weights.append(flat[first : (first := first + count * out * size)].view(count, out, size))
        biases.append(flat[first : (first := first + count * out)].view(count, 1, out))
    return weights, biases


def _linears(network: Any) -> list[nn.Linear]:
    if any(not isinstance(module, nn.Linear | nn.ReLU) for module in network):
        raise ConfigError("FusedSAC: layers other than nn.Linear and nn.ReLU")
    return [module for module in network if isinstance(module, nn.Linear)]


def _joined(states: Tensor, actions: Tensor) -> Tensor:
    """(B, S), (B, A) -> (2, B, S + A): the same for both critics."""
    return torch.cat([states, actions], dim=1).expand(2, -1, -1)
