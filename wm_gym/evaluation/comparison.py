"""The whole comparison: play everybody in both worlds, predict in open loop, film, and put the report together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wm_gym.data.episodes import Dataset
from wm_gym.envs import WorldModelVectorEnv
from wm_gym.errors import RenderError
from wm_gym.evaluation import baselines
from wm_gym.evaluation.actors import Actor, RandomActor
from wm_gym.evaluation.film import Film, make_film
from wm_gym.evaluation.held_out import CONTEXT, HeldOut, stack_episodes
from wm_gym.evaluation.open_loop import OpenLoop, judge_prediction
from wm_gym.evaluation.returns import FIRST_SEED, Contender, Returns, compare_returns, play_both_worlds
from wm_gym.evaluation.rollouts import physical_episodes
from wm_gym.evaluation.trajectories import Recorded, predicted_episodes
from wm_gym.models import TrainedModel
from wm_gym.physics.camera import StateRenderer
from wm_gym.physics.tasks import get_physics_state, make_physics, set_physics_state
from wm_gym.types import Episode, TaskSpec

HELD_OUT_SEED = 20_000_000
"""Held-out episodes are reset with seeds from here on."""

Track = Callable[[str, Sequence[int]], Iterable[int]]
"""Shows progress through the seeds of a stage."""


@dataclass(frozen=True)
class ComparisonConfig:
    """How much is compared."""

    episodes: int = 100
    """Of each contender in each world, and held-out ones for the open loop."""
    horizon: int = 100
    """Steps predicted in open loop; may exceed the task's own limit."""
    seed: int = 0
    """Of random actions, of the imagination and of every resampling."""
    film_starts: int = 3
    """Starts that are filmed; 0 for no film."""
    film_size: int = 300
    """Pixels of a panel."""


@dataclass(frozen=True)
class Played:
    """One contender's episodes, row by row from the same start."""

    contender: Contender
    physical: list[Episode]
    imagined: list[Episode]
    returns: Returns


@dataclass(frozen=True)
class Evidence:
    """Everything that was measured."""

    played: list[Played]
    held_out: HeldOut
    open_loop: OpenLoop
    film: Film | None
    film_section: dict[str, Any] = field(default_factory=dict)

    def records(self) -> list[Recorded]:
        """Every step behind the figures."""
        known = [("returns", "physics", p.contender.name, p.physical) for p in self.played]
        known += [("returns", "imagination", p.contender.name, p.imagined) for p in self.played]
        loop = self.open_loop
        known += [
            ("open_loop", "physics", "", list(self.held_out.episodes)),
            ("open_loop", "imagination", "", predicted_episodes(self.held_out, loop.model_states, loop.model_rewards)),
            ("open_loop", "floor", "", predicted_episodes(self.held_out, loop.floor_states, loop.floor_rewards)),
        ]
        return [Recorded(*entry) for entry in known]


def gather_evidence(
    trained: TrainedModel,
    contenders: Sequence[Contender],
    training: Sequence[Episode],
    config: ComparisonConfig,
    generator: np.random.Generator,
    track: Track,
) -> Evidence:
    """Measure everything that the report tells.

    Args:
        trained: the world model.
        contenders: policies to play in both worlds.
        training: what the model was fitted on, for the unit of error and the linear baseline; may be empty.
        config: how much.
        generator: resamples.
        track: shows progress.

    Raises:
        ConfigError: the task has no physics here.
    """
    task = trained.task
    played = [_play(trained, contender, config, generator, track) for contender in contenders]
    held_out = record_held_out(task, held_out_actors(task, contenders, config.seed), config, track)
    env = make_physics(task, max_episode_steps=config.horizon + CONTEXT + 1)
    try:
        floor = baselines.physics_floor(env, held_out, set_physics_state, generator)
    finally:
        env.close()
    judged = judge_prediction(trained.model, task, held_out, training, floor, generator)
    film, section = _film(trained, played, config)
    return Evidence(played, held_out, judged, film, section)


def _play(
    trained: TrainedModel, contender: Contender, config: ComparisonConfig, generator: np.random.Generator, track: Track
) -> Played:
    task = trained.task
    seeds = range(FIRST_SEED, FIRST_SEED + config.episodes)
    env = make_physics(task)
    try:
        physical, imagined = play_both_worlds(
            contender,
            env,
            lambda count: WorldModelVectorEnv(num_envs=count, model=trained),
            track(contender.name, seeds),
            task.control_dt,
            config.seed,
        )
    finally:
        env.close()
    return Played(
        contender, physical, imagined, compare_returns(contender, physical, imagined, task.max_episode_steps, generator)
    )


def held_out_actors(task: TaskSpec, contenders: Sequence[Contender], seed: int) -> dict[str, Actor]:
    """Who acts in the held-out episodes: uniform and smooth random actions, and the first trained policy."""
    actors: dict[str, Actor] = {
        "random": RandomActor(task.action_space, seed + 1),
        "smooth": RandomActor(task.action_space, seed + 2, memory=0.9),
    }
    trained = [contender for contender in contenders if contender.kind in ("imagination", "control")]
    if trained:
        actors["policy"] = trained[0].actor
    return actors


def record_held_out(task: TaskSpec, actors: dict[str, Actor], config: ComparisonConfig, track: Track) -> HeldOut:
    """Record episodes that no model has seen, with the exact states of the physics; the actors take equal shares."""
    env = make_physics(task, max_episode_steps=config.horizon + CONTEXT)
    episodes: list[Episode] = []
    shares = np.array_split(np.arange(HELD_OUT_SEED, HELD_OUT_SEED + config.episodes), len(actors))
    try:
        for (name, actor), seeds in zip(actors.items(), shares, strict=True):
            shown = track(f"held out, {name}", [int(seed) for seed in seeds])
            episodes += physical_episodes(env, actor, shown, task.control_dt, name, get_physics_state)
    finally:
        env.close()
    return stack_episodes(episodes, config.horizon)


def _film(
    trained: TrainedModel, played: Sequence[Played], config: ComparisonConfig
) -> tuple[Film | None, dict[str, Any]]:
    """Film the first starts of the first contender: never chosen by how they look."""
    task, sha256 = trained.task, str(dict(trained.manifest.get("files", {})).get("model.safetensors", ""))
    if config.film_starts == 0 or not played:
        return None, {"included": False, "reason": "none was asked for.", "caption": ""}
    chosen = played[0]
    pairs = list(zip(chosen.physical, chosen.imagined, strict=True))[: config.film_starts]
    rate = max(8, round(0.5 / task.control_dt))
    try:
        renderer = StateRenderer(task, None, config.film_size, config.film_size)
    except RenderError as error:
        return None, {"included": False, "reason": f"{error}", "caption": ""}
    try:
        film = make_film(pairs, renderer.draw, sha256, rate)
    except RenderError as error:
        return None, {"included": False, "reason": f"{error}", "caption": ""}
    finally:
        renderer.close()
    last = FIRST_SEED + len(pairs) - 1
    caption = (
        f"{chosen.contender.name}, the same policy in both worlds, from the first {len(pairs)} starts (seeds "
        f"{FIRST_SEED} to {last}): the first are always the ones shown. Played at {rate * task.control_dt:.2g} times "
        "real speed."
    )
    section = {"included": True, "reason": "", "caption": caption, "starts": len(pairs), "frames": film.frames}
    return film, section


def shared_starts(dataset: Dataset, evidence: Evidence) -> int:
    """Recorded episodes that begin exactly as an episode of this report: none, unless there is a leak."""
    ours = {_key(episode) for episode in evidence.held_out.episodes}
    for played in evidence.played:
        ours |= {_key(episode) for episode in played.physical}
    return sum(_key(episode) in ours for episode in dataset.episodes())


def _key(episode: Episode) -> bytes:
    return np.ascontiguousarray(episode.observations[0], dtype=np.float32).tobytes()
