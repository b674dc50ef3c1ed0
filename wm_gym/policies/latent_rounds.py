"""A camera agent from recorded frames: SAC on what a filter makes of them and on short imagined branches, in rounds.

A policy that is trained in long imagined rollouts finds what a camera model has wrong, and how noisy a filter's latent
states are it never sees (docs/log.md). Here half of a batch are recorded transitions, their frames filtered as the
robot's camera will be, and the other half are branches of two steps, imagined from such latent states under the current
policy. In every round the policy then acts on the robot, which shows what it has wrong. The model stays as it is.
What is tried and handed out is a moving average of the policy, which is not shown to do better than the last one.

Sources: Janner et al. 2019, "When to Trust Your Model" (MBPO), algorithm 2, on latent states; averaged weights from
Polyak and Juditsky 1992 ("Acceleration of stochastic approximation by averaging").
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.logger import configure
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from wm_gym.errors import ConfigError
from wm_gym.files import read_json, replacing_folder, write_json
from wm_gym.models import TrainedModel
from wm_gym.models.camera_world import CameraWorld
from wm_gym.models.checkpoint import read_tensors, write_tensors
from wm_gym.policies.fused_sac import FusedSAC
from wm_gym.policies.learners import export_policy
from wm_gym.policies.mixed_replay import MixedReplay
from wm_gym.policies.policy import Policy
from wm_gym.policies.resume import check_same_training, fitting, restore_learner, save_learner
from wm_gym.policies.trials import try_learner
from wm_gym.types import Episode, LatentState

_ROWS = 2000  # branches imagined side by side
_UPDATES = 1000  # gradient steps between two times of imagining
_MEMORY = 5  # times of imagining whose branches are kept
_STRIDE = 10  # gradient steps between two policies that are averaged
_DECAY = 0.99  # of the average, so that it looks back some thousand gradient steps

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class LatentRoundsConfig:
    """One agent's training."""

    steps: int = 20_000
    """Real steps that the policy takes itself, all rounds together."""
    rounds: int = 10
    """Of acting and learning, after a first one of learning alone."""
    seed: int = 0
    first_updates: int = 15_000
    """Gradient steps of SAC on the recording, before the policy acts."""
    updates: int = 6_000
    """Gradient steps of every later round."""
    branch: int = 2
    """Imagined steps of a branch."""
    imagined: int = 20_000
    """Transitions imagined before every thousand gradient steps."""
    real_share: float = 0.5
    """Of every batch; 1 imagines nothing."""
    gamma: float = 0.99
    tried: int = 5
    """Episodes of the trial after each round."""

    def check(self) -> None:
        """Raise ``ConfigError`` on a value that does not exist."""
        for name in ("steps", "rounds", "first_updates", "updates", "branch", "imagined", "tried"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: a positive number is needed")
        if self.steps < self.rounds:
            raise ConfigError(f"steps={self.steps}, rounds={self.rounds}: at least one step for each round")
        if self.seed < 0 or not 0 <= self.gamma <= 1:
            raise ConfigError(f"seed={self.seed}, gamma={self.gamma}: none below 0, and gamma at most 1")
        if not 0 < self.real_share <= 1:
            raise ConfigError(f"real_share={self.real_share}: above 0 and at most 1")

    def steps_until(self, number: int) -> int:
        """Real steps that the policy has taken after so many rounds."""
        return round(self.steps * number / self.rounds)

    @property
    def all_updates(self) -> int:
        """Gradient steps of the whole training."""
        return self.first_updates + self.rounds * self.updates


@dataclass(frozen=True)
class LatentRoundsResult:
    """What came of it."""

    policy: Policy
    """Acts on latent vectors (D,)."""
    learner: SAC
    """To be saved for stable-baselines3: its actor is the averaged one, its critics and optimizers are the newest."""
    curve: list[dict[str, Any]]
    """Of each round: real steps, the recording's included, and returns in the physics, from the camera."""
    imagined: int
    """Transitions imagined in all."""
    wall_seconds: float
    """Of learning, acting and the rounds' trials; what an interruption cut short is not counted."""


def learn_in_rounds(
    config: LatentRoundsConfig,
    trained: TrainedModel,
    episodes: Sequence[Episode],
    env: gym.Env[Array, Array],
    work: Path,
) -> LatentRoundsResult:
    """Learn, on the processor, from a recording and in rounds on the robot, going on after the last finished round.

    Args:
        config: see :class:`LatentRoundsConfig`.
        trained: a camera model.
        episodes: the recording, as embeddings (T+1, F) without a hole.
        env: the robot as it shows latent vectors (D,): a :class:`~wm_gym.envs.LatentObservation`. It is closed.
        work: folder for checkpoints. It stays, complete, for the caller to remove once the result is safe.

    Raises:
        ConfigError: a setting does not exist, or ``work`` belongs to another training.
    """
    config.check()
    rounds = _Rounds(config, trained, episodes, env)
    rounds.resume(work)
    while rounds.done <= config.rounds:
        rounds.play()
        rounds.save(work)
    rounds.bar.close()
    env.close()
    details = {"task": trained.task.name, "algorithm": "sac", "world": "latent imagination", "seed": config.seed}
    details |= {"steps": config.steps, "model": dict(trained.manifest.get("files", {}))}
    rounds.swap_average()
    policy = export_policy(rounds.learner, details)
    return LatentRoundsResult(policy, rounds.learner, rounds.curve, rounds.imagined, rounds.elapsed())


@torch.no_grad()
def filter_episodes(model: CameraWorld, episodes: Sequence[Episode]) -> list[Array]:
    """The latent vectors (T+1, D) that a filter has along episodes of embeddings (T+1, F)."""
    order = sorted(range(len(episodes)), key=lambda number: -len(episodes[number]))
    longest_first = [episodes[number] for number in order]
    latent = model.observe(None, None, _stack([episode.observations[0] for episode in longest_first]))
    vectors = [[vector] for vector in model.vector(latent).numpy()]
    for step in range(len(longest_first[0])):
        going = [episode for episode in longest_first if len(episode) > step]
        latent = model.observe(
            latent.rows(torch.arange(len(going))),
            _stack([episode.actions[step] for episode in going]),
            _stack([episode.observations[step + 1] for episode in going]),
        )
        for kept, vector in zip(vectors, model.vector(latent).numpy(), strict=False):
            kept.append(vector)
    found = dict(zip(order, map(np.stack, vectors), strict=True))
    return [found[number] for number in range(len(episodes))]


def _stack(rows: Sequence[Array]) -> torch.Tensor:
    return torch.from_numpy(np.stack(rows).astype(np.float32))


class _Rounds:
    """SAC, its replay of filtered transitions, and how far it has come."""

    def __init__(
        self,
        config: LatentRoundsConfig,
        trained: TrainedModel,
        episodes: Sequence[Episode],
        env: gym.Env[Array, Array],
    ) -> None:
        model = trained.model
        assert isinstance(model, CameraWorld)
        self._config, self._model, self._env, self._episodes = config, model, env, episodes
        self._recorded = sum(len(episode) for episode in episodes)
        self._identity = {name: str(value) for name, value in asdict(config).items()}
        self._identity |= {"averaged": f"every {_STRIDE} at {_DECAY}"}
        self._identity |= {"model": str(dict(trained.manifest.get("files", {}))), "recorded": str(self._recorded)}
        self.learner = FusedSAC(
            "MlpPolicy",
            env,
            seed=config.seed,
            device="cpu",
            learning_starts=0,
            gamma=config.gamma,
            buffer_size=self._recorded + config.steps + 1,  # it never comes full round
            policy_kwargs={"net_arch": [128, 128]},
            replay_buffer_class=MixedReplay,
            replay_buffer_kwargs={"real_share": config.real_share, "imagined_size": _MEMORY * config.imagined},
        )
        self.learner.set_logger(configure(None, []))
        averaging = get_ema_multi_avg_fn(_DECAY)  # type: ignore[no-untyped-call]
        self._average = AveragedModel(self.learner.actor, multi_avg_fn=averaging)
        self.curve: list[dict[str, Any]] = []
        self.imagined = 0
        self._before, self._started = 0.0, time.perf_counter()
        self.bar = tqdm(total=config.all_updates, desc="learn", unit="update", file=sys.stderr, mininterval=0.5)

    @property
    def done(self) -> int:
        """Rounds that are over, the first one of learning alone included."""
        return len(self.curve)

    def elapsed(self) -> float:
        """Seconds, those before an interruption included."""
        return self._before + time.perf_counter() - self._started

    def play(self) -> None:
        """One round: act, learn, and be tried."""
        config, number = self._config, self.done
        if number:
            self._act(config.steps_until(number) - config.steps_until(number - 1))
        self._replay.forget()
        left = config.updates if number else config.first_updates
        while left > 0:
            if config.real_share < 1:
                self._imagine()
            self._learn(min(left, _UPDATES))
            left -= _UPDATES
        with self._averaged():
            returns = try_learner(self.learner, self._env, config.seed, config.tried)
        steps = self._recorded + config.steps_until(number)
        self.curve.append({"steps": steps, "seconds": round(self.elapsed(), 1), "physical": returns})
        self.bar.set_postfix_str(f"{steps:,} real steps, return {np.mean(returns):.1f}")

    def _learn(self, updates: int) -> None:
        for first in range(0, updates, _STRIDE):
            count = min(_STRIDE, updates - first)
            self.learner.train(count, self.learner.batch_size)
            self._average.update_parameters(self.learner.actor)
            self.bar.update(count)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Within, the learner acts by its averaged policy."""
        self.swap_average()
        try:
            yield
        finally:
            self.swap_average()

    @torch.no_grad()
    def swap_average(self) -> None:
        """Exchange the weights of the newest policy and of the average."""
        averaged = self._average.module.parameters()
        for mine, other in zip(self.learner.actor.parameters(), averaged, strict=True):
            newest = mine.clone()
            mine.copy_(other)
            other.copy_(newest)

    def _act(self, steps: int) -> None:
        """Let the policy, with its own noise, act on what the camera shows."""
        seeds = np.random.default_rng([self._config.seed, self.done])
        while steps > 0:
            vector, _ = self._env.reset(seed=int(seeds.integers(2**31)))
            over = False
            while not over and steps > 0:
                action, _ = self.learner.predict(vector, deterministic=False)
                following, reward, terminated, truncated, _ = self._env.step(action)
                self._keep(vector, action, float(reward), following, terminated)
                vector, over, steps = following, terminated or truncated, steps - 1

    def _keep(self, vector: Array, action: Array, reward: float, following: Array, terminated: bool) -> None:
        scaled = self.learner.policy.scale_action(action)
        # An episode that only ran out of time goes on in what it is worth: to SAC it is no end.
        self._replay.add(
            vector[None], following[None], scaled[None], np.array([reward]), np.array([float(terminated)]), [{}]
        )

    @torch.no_grad()
    def _imagine(self) -> None:
        """Let the current policy act for a few imagined steps, from what the filter had at recorded moments."""
        replay, kept, count = self._replay, 0, min(_ROWS, self._config.imagined)
        while kept < self._config.imagined:
            rows = torch.randint(replay.pos, (count,)).numpy()
            latent = self._model.recover(torch.from_numpy(replay.observations[rows, 0]), torch.rand(count, 1))
            for _ in range(self._config.branch):
                if len(latent) == 0:
                    break
                latent = self._imagine_step(latent)
                kept += len(latent)
                latent = latent.rows(latent["continuation"] >= 0.5)
        self.imagined += kept

    def _imagine_step(self, latent: LatentState) -> LatentState:
        before = self._model.vector(latent)
        action, _ = self.learner.predict(before.numpy(), deterministic=False)
        following = self._model.imagine(latent, torch.from_numpy(action))
        self._replay.imagine(
            observations=before,
            actions=torch.from_numpy(self.learner.policy.scale_action(action)),
            next_observations=self._model.vector(following),
            dones=(following["continuation"] < 0.5).float(),
            rewards=following["reward"],
        )
        return following

    @property
    def _replay(self) -> MixedReplay:
        replay = self.learner.replay_buffer
        assert isinstance(replay, MixedReplay)
        return replay

    def resume(self, work: Path) -> None:
        """Take up an earlier call's checkpoint, or claim the folder and fill the replay with the recording."""
        record = work / "rounds.json"
        if record.exists():
            check_same_training(work, read_json(record), self._identity)
        write_json(record, self._identity)
        folder = work / "checkpoint"
        if folder.exists():
            restore_learner(folder / "learner.safetensors", self.learner, None)
            with fitting(average := folder / "average.safetensors"):
                self._average.load_state_dict(read_tensors(average))
            kept = read_json(folder / "curve.json")
            self.curve, self.imagined, self._before = kept["curve"], kept["imagined"], kept["elapsed"]
            if self.done:
                self.bar.update(self._config.first_updates + (self.done - 1) * self._config.updates)
            return
        for episode, vectors in zip(self._episodes, filter_episodes(self._model, self._episodes), strict=True):
            for step, action in enumerate(episode.actions):
                ended = episode.terminated and step == len(episode) - 1
                self._keep(vectors[step], action, float(episode.rewards[step]), vectors[step + 1], ended)

    def save(self, work: Path) -> None:
        """Write the checkpoint: of the next round everything else follows from it."""
        with replacing_folder(work / "checkpoint") as partial:
            save_learner(partial / "learner.safetensors", self.learner, None)
            write_tensors(partial / "average.safetensors", self._average.state_dict())
            write_json(
                partial / "curve.json", {"curve": self.curve, "imagined": self.imagined, "elapsed": self.elapsed()}
            )
