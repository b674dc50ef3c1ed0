"""Everything that a stable-baselines3 learner needs to go on where it stopped, as plain tensors.

In imagination it goes on to the bit. In the physics the unfinished episode is lost, and others begin.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from wm_gym.envs.imagination import RolloutState
from wm_gym.envs.sb3 import WorldModelVecEnv
from wm_gym.errors import ConfigError, ModelError
from wm_gym.models.checkpoint import read_tensors, write_tensors
from wm_gym.policies.filtered_latents import FilteredLatents

_REPLAY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def check_same_training(work: Path, kept: Any, identity: Any) -> None:
    """Raise ``ConfigError`` where the checkpoint in a folder was ``kept`` by a training that is not this one."""
    if kept != identity:
        raise ConfigError(
            f"{work} holds an unfinished training with other settings: finish it with its own settings, "
            "delete it, or choose another output"
        )


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Raise ``ModelError`` where what a checkpoint holds does not fit into what it is put."""
    try:
        yield
    except (KeyError, RuntimeError, ValueError) as error:
        raise ModelError(f"{path}: does not fit these settings; delete it to train from the start") from error


def save_learner(path: Path, learner: BaseAlgorithm, env: Any) -> None:
    """Write weights, optimizers, counts, replay and random states.

    In imagination, the rollouts in flight too, with what filters them; in the physics, the running statistics of a
    ``VecNormalize``.
    """
    tensors = {f"weight.{name}": value for name, value in learner.policy.state_dict().items()}
    for index, optimizer in enumerate(_optimizers(learner)):
        for number, parameter in enumerate(_parameters(optimizer)):
            moments = optimizer.state.get(parameter, {})
            tensors |= {f"optimizer.{index}.{number}.{name}": torch.as_tensor(v) for name, v in moments.items()}
    counts = [learner.num_timesteps, learner._n_updates, learner._episode_num]
    tensors["counts"] = torch.tensor(counts, dtype=torch.int64)
    tensors["torch"] = torch.get_rng_state()
    # SB3 draws its minibatches from numpy's global generator.
    _, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    tensors["numpy.keys"] = torch.from_numpy(np.asarray(keys, np.int64))
    tensors["numpy.rest"] = torch.tensor([position, has_gauss, gauss], dtype=torch.float64)
    episodes = list(learner.ep_info_buffer or ())
    tensors["recent"] = torch.tensor([[e["r"], e["l"]] for e in episodes], dtype=torch.float64).reshape(-1, 2)
    if isinstance(learner, SAC):
        tensors |= _sac_tensors(learner)
    if isinstance(rollouts := _rollouts(env), WorldModelVecEnv):
        tensors |= _rollout_tensors(learner, rollouts)
    if isinstance(env, FilteredLatents):
        tensors |= {f"filter.{name}": value for name, value in env.tensors().items()}
    if isinstance(env, VecNormalize):
        tensors |= _statistics_tensors(env)
    write_tensors(path, tensors)


def restore_learner(path: Path, learner: BaseAlgorithm, env: Any) -> None:
    """Put a fresh learner of the same settings where :func:`save_learner` left its twin.

    Raises:
        ModelError: the file is damaged or belongs to a learner of other settings.
    """
    tensors = read_tensors(path)
    with fitting(path):
        learner.policy.load_state_dict(_named(tensors, "weight."))
        for index, optimizer in enumerate(_optimizers(learner)):
            for number, parameter in enumerate(_parameters(optimizer)):
                if moments := _named(tensors, f"optimizer.{index}.{number}."):
                    optimizer.state[parameter] = moments
        learner.num_timesteps, learner._n_updates, learner._episode_num = (int(v) for v in tensors["counts"])
        recent = [{"r": r, "l": int(length), "t": 0.0} for r, length in tensors["recent"].tolist()]
        learner.ep_info_buffer, learner.ep_success_buffer = deque(recent, maxlen=100), deque(maxlen=100)
        if isinstance(learner, SAC):
            _restore_sac(learner, tensors)
        if isinstance(rollouts := _rollouts(env), WorldModelVecEnv):
            _restore_rollouts(learner, rollouts, tensors)
        else:
            _begin_elsewhere(learner)
        if isinstance(env, FilteredLatents):
            learner._last_obs = env.restore(_named(tensors, "filter."))
        if isinstance(env, VecNormalize):
            _restore_statistics(env, tensors)
        torch.set_rng_state(tensors["torch"])
        position, has_gauss, gauss = tensors["numpy.rest"].tolist()
        keys = tensors["numpy.keys"].numpy().astype(np.uint32)
        np.random.set_state(("MT19937", keys, int(position), int(has_gauss), gauss))  # noqa: NPY002


def _rollouts(env: Any) -> Any:
    return env.venv if isinstance(env, FilteredLatents) else env


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _optimizers(learner: BaseAlgorithm) -> Iterator[torch.optim.Optimizer]:
    if isinstance(learner, SAC):
        yield learner.actor.optimizer
        yield learner.critic.optimizer
        if learner.ent_coef_optimizer is not None:
            yield learner.ent_coef_optimizer
    else:
        yield learner.policy.optimizer


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _sac_tensors(learner: SAC) -> dict[str, Tensor]:
    buffer = learner.replay_buffer
    assert isinstance(buffer, ReplayBuffer)
    filled = buffer.buffer_size if buffer.full else buffer.pos
    tensors = {f"replay.{name}": torch.from_numpy(getattr(buffer, name)[:filled]) for name in _REPLAY}
    tensors["replay.place"] = torch.tensor([buffer.pos, int(buffer.full)])
    if learner.log_ent_coef is not None:
        tensors["log_ent_coef"] = learner.log_ent_coef
    return tensors


def _restore_sac(learner: SAC, tensors: dict[str, Tensor]) -> None:
    buffer = learner.replay_buffer
    assert isinstance(buffer, ReplayBuffer)
    for name in _REPLAY:
        kept = tensors[f"replay.{name}"].numpy()
        getattr(buffer, name)[: len(kept)] = kept
    buffer.pos, buffer.full = int(tensors["replay.place"][0]), bool(tensors["replay.place"][1])
    if learner.log_ent_coef is not None:
        learner.log_ent_coef.data.copy_(tensors["log_ent_coef"])


def _rollout_tensors(learner: BaseAlgorithm, env: WorldModelVecEnv) -> dict[str, Tensor]:
    tensors = {f"rollout.{name}": value for name, value in env.get_state().tensors().items()}
    tensors["running.returns"], tensors["running.lengths"] = (torch.from_numpy(v) for v in env.running())
    tensors["running.first"] = torch.from_numpy(np.asarray(learner._last_episode_starts))
    return tensors


def _restore_rollouts(learner: BaseAlgorithm, env: WorldModelVecEnv, tensors: dict[str, Tensor]) -> None:
    state = RolloutState.of_tensors(_named(tensors, "rollout."))
    env.set_state(state)
    env.set_running(tensors["running.returns"].numpy(), tensors["running.lengths"].numpy())
    learner._last_obs = state.observation.numpy()
    learner._last_original_obs = None
    learner._last_episode_starts = tensors["running.first"].numpy()


def _begin_elsewhere(learner: BaseAlgorithm) -> None:
    """Seed the physics by how far it has come: as at first, its episodes would begin where they have begun before."""
    if (env := learner.get_env()) is not None:
        seeds = np.random.SeedSequence([learner.seed or 0, learner.num_timesteps])
        env.seed(int(seeds.generate_state(1)[0] >> 1))


def _statistics(env: VecNormalize) -> dict[str, RunningMeanStd]:
    observation: Any = env.obs_rms  # SB3 declares the dict that it is where observations are one
    return {"observation": observation, "return": env.ret_rms}


def _statistics_tensors(env: VecNormalize) -> dict[str, Tensor]:
    return {
        f"normalize.{name}.{part}": torch.tensor(np.asarray(getattr(running, part)), dtype=torch.float64)
        for name, running in _statistics(env).items()
        for part in ("mean", "var", "count")
    }


def _restore_statistics(env: VecNormalize, tensors: dict[str, Tensor]) -> None:
    for name, running in _statistics(env).items():
        running.mean, running.var = (tensors[f"normalize.{name}.{part}"].numpy() for part in ("mean", "var"))
        running.count = float(tensors[f"normalize.{name}.count"])
