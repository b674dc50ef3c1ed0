"""What a report measures with: the judged world, the physics, the policies, and how much of everything."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from wm_gym.evaluation.actors import Actor, RandomActor
from wm_gym.evaluation.held_out import CONTEXT, HeldOut, stack_episodes
from wm_gym.evaluation.prediction import Scale
from wm_gym.evaluation.returns import Contender, Returns
from wm_gym.evaluation.worlds import PhysicsWorld, World
from wm_gym.types import Episode, TaskSpec

HELD_OUT_SEED = 20_000_000
"""Held-out episodes are reset with seeds from here on."""

Progress = Callable[[str, Sequence[int]], Iterable[int]]
"""Shows progress through the rows of a named stage."""


@dataclass(frozen=True)
class ReportConfig:
    """How much is measured; all of it reaches ``report.json``."""

    seed: int = 0
    """Of random actions, of the imagination, of every search and every resampling."""
    episodes: int = 100
    """Of each agent in each world, and held-out ones for the open loop."""
    horizon: int = 100
    """Steps predicted in open loop; may exceed the task's own limit."""
    panel_episodes: int = 20
    """Of each policy of the panel in each world."""
    moments: int = 60
    """At which the effect of an action is measured."""
    search_starts: int = 10
    """Of the exploit hunt."""
    search_samples: int = 64
    plan_episodes: int = 20
    plan_steps: int = 50
    plan_samples: int = 32
    gap_episodes: int = 10
    """Of each policy under each change of the physics."""
    refit_episodes: int = 40
    """Of a changed robot, of at most 50 steps, to which the model is refitted."""
    refit_updates: int = 300
    film_starts: int = 3
    film_size: int = 300

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


QUICK = ReportConfig(
    episodes=16,
    horizon=50,
    panel_episodes=4,
    moments=16,
    search_starts=3,
    search_samples=24,
    plan_episodes=4,
    plan_steps=20,
    plan_samples=12,
    gap_episodes=2,
    refit_episodes=10,
    refit_updates=24,
    film_starts=1,
)
"""Rough intervals, in about two minutes."""


@dataclass(frozen=True)
class PanelMember:
    """A policy of the panel, as the report needs it."""

    name: str
    kind: str
    actor: Actor
    returned: float = float("nan")
    """Mean return in MuJoCo where the panel was made; NaN where that is not known."""


@dataclass(frozen=True)
class Bench:
    """Everything that the sections measure with."""

    task: TaskSpec
    world: World
    physics: PhysicsWorld
    config: ReportConfig
    contenders: Sequence[Contender] = ()
    """Played in both worlds: agents, controls, random actions."""
    earlier: Sequence[Returns] = ()
    """Returns that were measured before: a committed control, the data's behaviour."""
    panel: Sequence[PanelMember] = ()
    training: Sequence[Episode] = ()
    """What the world was learnt from, if it is at hand."""
    progress: Progress = field(default=lambda name, rows: rows)

    def generator(self, name: str) -> np.random.Generator:
        """The chance of one section: it does not depend on which others run."""
        return section_generator(self.config.seed, name)

    @cached_property
    def held_out(self) -> HeldOut:
        """Episodes that no model has seen, with the exact states of the physics; the actors take equal shares."""
        config, episodes = self.config, []
        actors = self._held_out_actors()
        for name, rows in zip(actors, np.array_split(np.arange(config.episodes), len(actors)), strict=True):
            starts = self.physics.resets([HELD_OUT_SEED + int(row) for row in rows])
            shown = lambda seeds, name=name: self.progress(f"held out, {name}", seeds)  # noqa: E731
            played = self.physics.play(actors[name], starts, config.horizon + CONTEXT, config.seed, shown)
            episodes += [
                _renamed(episode, name, HELD_OUT_SEED + int(row)) for episode, row in zip(played, rows, strict=True)
            ]
        return stack_episodes(episodes, config.horizon)

    @cached_property
    def scale(self) -> Scale:
        """What one unit of error is."""
        return Scale.of(list(self.training) or self.held_out.episodes)

    def _held_out_actors(self) -> dict[str, Actor]:
        """Uniform and smooth random actions, and a policy: an agent, or the panel's trained one of median return."""
        space, seed = self.task.action_space, self.config.seed
        actors: dict[str, Actor] = {
            "random": RandomActor(space, seed + 1),
            "smooth": RandomActor(space, seed + 2, memory=0.9),
        }
        played = [contender.actor for contender in self.contenders if contender.kind in ("imagination", "control")]
        trained = sorted(
            (member for member in self.panel if member.kind == "trained"),
            key=lambda member: float(np.nan_to_num(member.returned, nan=-np.inf)),
        )
        if played:
            actors["policy"] = played[0]
        elif trained:
            actors["policy"] = trained[len(trained) // 2].actor
        return actors


def section_generator(seed: int, name: str) -> np.random.Generator:
    """Chance that belongs to a seed and a section's name."""
    return np.random.default_rng((seed, zlib.crc32(name.encode())))


def _renamed(episode: Episode, behaviour: str, seed: int) -> Episode:
    return replace(episode, behaviour=behaviour, seed=seed)
