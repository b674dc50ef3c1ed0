"""Hunting for what an imagined world must never show: a number that is none, or one that grows without bound.

Four ways to act (random, saturated, adversarial and fuzzed), through the three faces of the environment. Learnt
terminations are switched off and the horizon is far away, so that rollouts end only where the bounds are left. What is
refused must be refused with an error of ours, and must change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from wm_gym.envs import RolloutState, WorldModelEnv, WorldModelVectorEnv
from wm_gym.envs.sb3 import WorldModelVecEnv
from wm_gym.errors import WorldModelError
from wm_gym.evaluation.worlds import LearnedWorld, Moments
from wm_gym.models import TrainedModel
from wm_gym.policies.planner import Planner, PlannerConfig
from wm_gym.types import BoolArray, FloatArray

WAYS = ("random", "saturated", "adversarial", "fuzzed")
PENALTY = 1.0
"""Of the stable-baselines3 face, which is tried under ``uncertainty="penalize"``."""
_SITUATIONS = 8
"""Plans that are looked for side by side."""


@dataclass
class Tally:
    """What one way of acting met at one face."""

    steps: int = 0
    """Imagined steps whose outputs were looked at, those of a search among them."""
    not_finite: int = 0
    """Steps with an output that is no finite number."""
    unbounded: int = 0
    """Steps with an observation or reward beyond the bounds of the world."""
    ended_by_bound: int = 0
    """Rollouts that the bounds ended."""
    refused: int = 0
    """Fuzzed inputs that were refused, changing nothing."""
    faults: list[str] = field(default_factory=list)
    """Fuzzed inputs that were met with a foreign error, or that changed something and were then refused."""
    largest_uncertainty: float = 0.0


@dataclass(frozen=True)
class Shown:
    """What one step of B rows showed, last observations of ended rows among it."""

    observations: FloatArray
    """(B or more, S)."""
    rewards: FloatArray
    """(B,) without the penalty."""
    uncertainty: FloatArray
    """(B,) that the rewards were penalised by."""
    invalid: int
    """Rows that left the bounds."""


class Face:
    """One of the three faces with B rows, behind one pair of verbs."""

    def __init__(self, name: str, trained: TrainedModel, rows: int) -> None:
        """Open a face: ``single`` (which has one row, and shows the mean), ``vector`` or ``sb3`` (which penalises)."""
        rules: dict[str, Any] = {"horizon": 10**9, "start": "any", "termination_fn": _never}
        self.name, self.rows = name, 1 if name == "single" else rows
        self.env: Any
        if name == "single":
            self.env = WorldModelEnv(trained, deterministic=True, **rules)
        elif name == "vector":
            self.env = WorldModelVectorEnv(rows, trained, **rules)
        else:
            self.env = WorldModelVecEnv(trained, rows, uncertainty="penalize", penalty=PENALTY, **rules)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> FloatArray:
        """Begin anew in every row: (B, S)."""
        if self.name == "sb3":
            if seed is not None:
                self.env.seed(seed)
            self.env.set_options(options)
            try:
                return np.asarray(self.env.reset())
            finally:
                self.env.set_options()
        return np.asarray(self.env.reset(seed=seed, options=options)[0]).reshape(self.rows, -1)

    def step(self, actions: FloatArray) -> Shown:
        """Act in every row: (B, A), or anything at all."""
        if self.name == "single":
            return self._step_single(actions)
        if self.name == "vector":
            observation, reward, _, _, info = self.env.step(actions)
            final = info.get("final_info", {})
            ended = final.get("_uncertainty", np.zeros(self.rows, np.bool_))
            uncertainty = np.where(ended, final.get("uncertainty", 0.0), info["uncertainty"])
            last = [row for row in info.get("final_obs", ()) if row is not None]
            invalid = int(np.sum(final.get("invalid", False)))
            return Shown(np.stack([*observation, *last]), reward, uncertainty, invalid)
        observation, reward, _, infos = self.env.step(actions)
        last = [info["terminal_observation"] for info in infos if "terminal_observation" in info]
        uncertainty = np.array([info["uncertainty"] for info in infos])
        invalid = sum(bool(info.get("invalid")) for info in infos)
        return Shown(np.stack([*observation, *last]), reward + PENALTY * uncertainty, uncertainty, invalid)

    def _step_single(self, actions: Any) -> Shown:
        action = actions[0] if isinstance(actions, np.ndarray) and actions.ndim == 2 else actions
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            self.env.reset()
        uncertainty = np.array([info["uncertainty"]])
        return Shown(observation[None], np.array([reward]), uncertainty, int(info.get("invalid", False)))


class Stress:
    """One model, tried until it breaks or the steps are used up."""

    def __init__(self, trained: TrainedModel, seed: int, samples: int = 64) -> None:
        """Args: ``samples`` are the candidates of each iteration of the adversarial search."""
        self.trained = trained
        elites = max(2, samples // 8)
        self._plan = PlannerConfig("cem", horizon=25, samples=samples, iterations=3, elites=elites, spread=1.0)
        self._generator = np.random.default_rng(seed)
        normalizer = trained.model.normalizer
        low, high = (bound.double().cpu().numpy() for bound in normalizer.bounds)
        rewards = normalizer.bound_reward(torch.tensor([-torch.inf, torch.inf])).double().cpu().numpy()
        self._low, self._high, self._rewards = low, high, rewards
        space = trained.task.action_space
        self._actions = np.nan_to_num(space.low, neginf=-1.0), np.nan_to_num(space.high, posinf=1.0)

    def run(self, way: str, face: Face, steps: int, progress: Callable[[int], None] = lambda done: None) -> Tally:
        """Act in one way at one face until ``steps`` were looked at."""
        tally = Tally()
        face.reset(seed=int(self._generator.integers(2**31)))
        deeds = {"random": self._random, "saturated": self._saturated, "adversarial": self._search}
        deed = deeds.get(way, self._fuzz)
        while tally.steps < steps:
            before = tally.steps
            for actions in deed(face, tally):
                self._look(face.step(actions), tally)
            progress(tally.steps - before)
        return tally

    def _random(self, face: Face, tally: Tally) -> Iterator[FloatArray]:
        yield self._generator.uniform(*self._actions, size=(face.rows, len(self._actions[0])))

    def _saturated(self, face: Face, tally: Tally) -> Iterator[FloatArray]:
        """Each motor at one of its ends, held for up to 50 steps: what drives a robot farthest."""
        ends = self._generator.integers(0, 2, size=(face.rows, len(self._actions[0])))
        for _ in range(int(self._generator.integers(1, 50))):
            yield np.where(ends == 0, *self._actions)

    def _search(self, face: Face, tally: Tally) -> Iterator[FloatArray]:
        """The actions that the imagination pays most for, looked for by CEM from recorded moments, then carried out."""
        count = min(_SITUATIONS, face.rows)
        moments = self.trained.starts.any[:, 0].cpu().numpy()
        starts = moments[self._generator.integers(0, len(moments), count)]
        world, none = LearnedWorld(self.trained), np.zeros((count, 0))

        def score(candidates: FloatArray) -> FloatArray:
            situations, samples = candidates.shape[:2]
            here = Moments(starts, none, none).repeat(samples)
            found = world.follow(here, candidates.reshape(situations * samples, *candidates.shape[2:]))
            self._look(_as_shown(found.observations, found.rewards, found.uncertainty), tally)
            return found.returns().reshape(situations, samples)

        planner = Planner(self.trained.task.action_space, self._plan, self._generator)
        plans = planner.plan(score, planner.first_guess(count))
        everywhere = np.arange(face.rows) % count
        face.reset(options={"observation": starts[everywhere] if face.rows > 1 else starts[0]})
        for step in range(self._plan.horizon):
            yield plans[everywhere, step]

    def _fuzz(self, face: Face, tally: Tally) -> Iterator[FloatArray]:
        """An input that must be refused, and one that is absurd but allowed; then a few random steps from there."""
        bad = self._bad_inputs(face)
        name = sorted(bad)[int(self._generator.integers(len(bad)))]
        before = face.env.get_state()
        try:
            bad[name]()
            tally.faults.append(f"{face.name}: {name} was accepted")
        except WorldModelError:
            tally.refused += 1
            if not _same(before, face.env.get_state()):
                tally.faults.append(f"{face.name}: {name} was refused but changed the state")
        except Exception as error:  # whatever it is, it is not ours
            tally.faults.append(f"{face.name}: {name} raised {type(error).__name__}: {error}")
        if self._generator.random() < 0.5:
            absurd = self._generator.uniform(self._low, self._high, size=(face.rows, len(self._low)))
            inside = np.clip(absurd.astype(np.float32), *_inner(self._low, self._high))
            face.reset(options={"observation": inside if face.rows > 1 else inside[0]})
        for _ in range(5):
            huge = 10.0 ** self._generator.uniform(0, 300)
            yield huge * self._generator.normal(size=(face.rows, len(self._actions[0])))

    def _bad_inputs(self, face: Face) -> Mapping[str, Callable[[], Any]]:
        """What no environment may swallow."""
        rows, size, width = face.rows, len(self._low), len(self._actions[0])
        row, column = int(self._generator.integers(rows)), int(self._generator.integers(width))

        def actions(value: float) -> FloatArray:
            wrong = np.zeros((rows, width))
            wrong[row, column] = value
            return wrong

        def observations(value: float) -> FloatArray:
            wrong = np.tile(self.trained.model.normalizer.mean.cpu().numpy(), (rows, 1))
            wrong[row, int(self._generator.integers(size))] = value
            return wrong if rows > 1 else wrong[0]

        state = face.env.get_state()
        broken = state.map(lambda value: value * float("nan") if value.is_floating_point() else value)
        return {
            "action nan": lambda: face.step(actions(np.nan)),
            "action inf": lambda: face.step(actions(-np.inf)),
            "action misshaped": lambda: face.step(np.zeros((rows, width + 1))),
            "action of text": lambda: face.step(np.full((rows, width), "up")),
            "start nan": lambda: face.reset(options={"observation": observations(np.nan)}),
            "start inf": lambda: face.reset(options={"observation": observations(np.inf)}),
            "start absurd": lambda: face.reset(options={"observation": observations(1e30)}),
            "start misshaped": lambda: face.reset(options={"observation": np.zeros(size + 1)}),
            "option unknown": lambda: face.reset(options={"obervation": np.zeros(size)}),
            "state nan": lambda: face.env.set_state(broken),
            "state of another kind": lambda: face.env.set_state({"latent": 1}),
        }

    def _look(self, shown: Shown, tally: Tally) -> None:
        tally.steps += len(shown.rewards)
        tally.ended_by_bound += shown.invalid
        finite = np.isfinite(shown.observations).all(-1)
        tally.not_finite += int((~finite).sum() + (~np.isfinite(shown.rewards) | ~np.isfinite(shown.uncertainty)).sum())
        room = 1e-4 * (1 + np.abs(self._low) + np.abs(self._high))
        beyond = ((shown.observations < self._low - room) | (shown.observations > self._high + room)).any(-1)
        slack = 1e-4 * (1 + np.abs(self._rewards).max() + np.abs(shown.uncertainty))
        paid = (shown.rewards < self._rewards[0] - slack) | (shown.rewards > self._rewards[1] + slack)
        tally.unbounded += int(beyond.sum() + paid.sum())
        tally.largest_uncertainty = max(tally.largest_uncertainty, float(np.max(shown.uncertainty)))


def _as_shown(observations: FloatArray, rewards: FloatArray, uncertainty: FloatArray | None) -> Shown:
    assert uncertainty is not None, "a learned world says how uncertain it is"
    return Shown(observations.reshape(-1, observations.shape[-1]), rewards.ravel(), uncertainty.ravel(), 0)


def _inner(low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bounds that float32 cannot round to their outside."""
    room = 1e-3 * (high - low)
    return (low + room).astype(np.float32), (high - room).astype(np.float32)


def _same(one: RolloutState, other: RolloutState) -> bool:
    theirs = other.tensors()
    return all(torch.equal(value, theirs[name]) for name, value in one.tensors().items())


def _never(observation: FloatArray, action: FloatArray, following: FloatArray) -> BoolArray:
    return np.zeros(len(observation), dtype=np.bool_)
