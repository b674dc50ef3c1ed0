"""stable-baselines3's PPO, A2C and SAC, set up for many imagined rollouts or for one physical robot."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import Tensor, nn

from wm_gym.errors import ConfigError
from wm_gym.models.normalization import Normalizer
from wm_gym.policies.policy import Policy

_ACTIVATIONS = {nn.Tanh: "tanh", nn.ReLU: "relu"}


class ScaledObservation(BaseFeaturesExtractor):
    """Observations scaled by statistics that are known beforehand, so that the policy carries no running ones."""

    mean: Tensor
    scale: Tensor

    def __init__(self, observation_space: spaces.Box, mean: tuple[float, ...], scale: tuple[float, ...]) -> None:
        super().__init__(observation_space, features_dim=len(mean))
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, observations: Tensor) -> Tensor:
        """(B, S) raw -> (B, S) scaled."""
        return (observations - self.mean) / self.scale


def build_learner(
    algorithm: str,
    env: VecEnv,
    seed: int,
    steps: int,
    normalizer: Normalizer | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> BaseAlgorithm:
    """A fresh PPO, SAC or A2C.

    Args:
        algorithm: ``ppo``, ``sac`` or, in the physics, ``a2c``.
        env: where it will learn. A ``VecNormalize`` is given the algorithm's own discount.
        seed: of its weights and draws.
        steps: it will learn for; PPO's learning rate falls to nearly nothing over them.
        normalizer: scales the observations; None leaves them to ``env``, and settings are SB3's own but for PPO and
            A2C in a ``VecNormalize``.
        overrides: keyword arguments of the algorithm.

    Raises:
        ConfigError: the algorithm or a keyword is unknown.
    """
    settings: dict[str, Any] = {"seed": seed, "device": "cpu"}
    if normalizer is not None:
        scaled = {"mean": tuple(normalizer.mean.tolist()), "scale": tuple(normalizer.std.tolist())}
        network: dict[str, Any] = {
            "features_extractor_class": ScaledObservation,
            "features_extractor_kwargs": scaled,
        }
        settings |= _ppo_in_imagination(env, network) if algorithm == "ppo" else _sac_in_imagination(env, network)
    elif isinstance(env, VecNormalize) and algorithm != "sac":
        settings |= _ppo_in_physics() if algorithm == "ppo" else _a2c_in_physics()
    settings |= dict(overrides or {})
    learners: dict[str, type[BaseAlgorithm]] = {"ppo": PPO, "sac": SAC, "a2c": A2C}
    if algorithm not in learners:
        raise ConfigError(f"algorithm={algorithm!r}: one of {', '.join(learners)}")
    try:
        learner = learners[algorithm]("MlpPolicy", env, **settings)
    except TypeError as error:
        raise ConfigError(f"{algorithm} of stable-baselines3 refuses a setting: {error}") from error
    if isinstance(env, VecNormalize):
        env.gamma = learner.gamma  # type: ignore[attr-defined]
    return learner


def _ppo_in_imagination(env: VecEnv, network: dict[str, Any]) -> dict[str, Any]:
    """Steps are cheap and rollouts many: short horizons of the value, large batches, a rate that falls."""
    return {
        "n_steps": 50,
        "batch_size": 5 * env.num_envs,
        "n_epochs": 5,
        "learning_rate": FallingRate(1e-3),
        "gamma": 0.95,
        "policy_kwargs": network | {"net_arch": [64, 64], "log_std_init": -0.5},
    }


def _ppo_in_physics() -> dict[str, Any]:
    """A handful of robots whose steps cost: small batches, used often, and so little noise that walkers stand."""
    return {
        "n_steps": 256,
        "batch_size": 128,
        "n_epochs": 5,
        "learning_rate": FallingRate(3e-4),
        "policy_kwargs": {"net_arch": [64, 64], "log_std_init": -1.0},
    }


def _a2c_in_physics() -> dict[str, Any]:
    """Longer rollouts than SB3's five steps, which would spend the time on tiny updates."""
    return {
        "n_steps": 16,
        "gae_lambda": 0.95,
        "learning_rate": FallingRate(7e-4),
        "policy_kwargs": {"net_arch": [64, 64], "log_std_init": -1.0},
    }


def _sac_in_imagination(env: VecEnv, network: dict[str, Any]) -> dict[str, Any]:
    """One update for each step of the whole batch of rollouts, on large batches."""
    return {
        "batch_size": 256,
        "buffer_size": 500_000,
        "learning_starts": 20 * env.num_envs,
        "gradient_steps": max(1, env.num_envs // 8),
        "gamma": 0.95,
        "policy_kwargs": network | {"net_arch": [128, 128]},
    }


def check_settings(algorithm: str, settings: Mapping[str, Any]) -> None:
    """Raise ``ConfigError`` on a keyword that the algorithm does not know: cheaply, before anything is recorded."""
    learner = {"ppo": PPO, "sac": SAC, "a2c": A2C}[algorithm]
    known = set(inspect.signature(learner).parameters) - {"policy", "env"}
    if unknown := sorted(set(settings) - known):
        raise ConfigError(f"settings.{unknown[0]}: {algorithm} of stable-baselines3 knows {', '.join(sorted(known))}")


class FallingRate:
    """A learning rate that falls linearly to a fiftieth."""

    def __init__(self, start: float) -> None:
        self.start = start

    def __call__(self, remaining: float) -> float:
        """Rate when the share ``remaining`` of the steps is still to come."""
        return self.start * max(remaining, 0.02)


def export_policy(learner: BaseAlgorithm, details: Mapping[str, Any]) -> Policy:
    """The mean action of a learner's actor as a :class:`~wm_gym.policies.Policy`.

    The running mean and standard deviation of a ``VecNormalize`` become the policy's own; that it clips what lies more
    than ten deviations away is the one thing lost.
    """
    space = learner.action_space
    assert isinstance(space, spaces.Box)
    if isinstance(learner, PPO | A2C):
        body, head, extractor = (
            learner.policy.mlp_extractor.policy_net,
            learner.policy.action_net,
            learner.policy.pi_features_extractor,
        )
    elif isinstance(learner, SAC):
        body, head, extractor = learner.actor.latent_pi, learner.actor.mu, learner.actor.features_extractor
    else:
        raise ConfigError(f"{type(learner).__name__} cannot be exported: PPO, SAC and A2C can")
    linears = [module for module in (*body, head) if isinstance(module, nn.Linear)]
    activation = next(_ACTIVATIONS[type(module)] for module in body if type(module) in _ACTIVATIONS)
    size = int(linears[0].in_features)
    mean, scale = torch.zeros(size), torch.ones(size)
    if isinstance(extractor, ScaledObservation):
        mean, scale = extractor.mean, extractor.scale
    elif (running := learner.get_vec_normalize_env()) is not None:
        statistics: Any = running.obs_rms  # SB3 declares the dict that it is where observations are one
        mean = torch.from_numpy(statistics.mean)
        scale = torch.from_numpy(statistics.var + running.epsilon).sqrt()
    tensors = {
        "mean": mean,
        "scale": scale,
        "low": torch.from_numpy(space.low),
        "high": torch.from_numpy(space.high),
    }
    for index, linear in enumerate(linears):
        tensors |= {f"weight.{index}": linear.weight, f"bias.{index}": linear.bias}
    copied = {name: value.detach().cpu().float().clone() for name, value in tensors.items()}
    return Policy(copied, activation, isinstance(learner, SAC), dict(details))
