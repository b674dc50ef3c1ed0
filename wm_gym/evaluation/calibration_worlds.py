"""Episodes in which the robot, or what acts, is not what the model has learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from wm_gym.evaluation.actors import Actor, IntArray, RandomActor
from wm_gym.evaluation.calibration import WATCHED
from wm_gym.evaluation.worlds import PhysicsWorld
from wm_gym.evaluation.worlds.changes import changes
from wm_gym.evaluation.worlds.world import Track
from wm_gym.policies.scripted import ScriptedPolicy
from wm_gym.types import BoxSpec, Episode, FloatArray, TaskSpec

FIRST_SEED = 30_000_000
"""Episodes are reset with seeds from here on."""
AXES = ("mass", "gravity", "actuator gain", "friction")
"""Of the changes of :mod:`~wm_gym.evaluation.worlds.changes`; the stronger amount of each."""
NOMINAL, LARGER, UNSEEN = "unchanged", "actions x 1.5", "unseen policies"
MOVES = 1e-3
"""Standard deviations by which some observation must differ, or a change is none for this robot."""
_UNSEEN = 4


class LargerActor:
    """Another actor's actions, 1.5 times as large, within the bounds."""

    def __init__(self, actor: Actor, space: BoxSpec) -> None:
        self._actor, self._low, self._high = actor, np.array(space.low), np.array(space.high)

    def act(self, observation: FloatArray, episodes: IntArray, step: int) -> FloatArray:
        """See :class:`~wm_gym.evaluation.actors.Actor`."""
        action = np.clip(1.5 * self._actor.act(observation, episodes, step), self._low, self._high)
        return np.asarray(action, dtype=np.float32)


def play_changed(
    task: TaskSpec,
    policies: Mapping[str, Actor],
    spread: FloatArray,
    episodes: int,
    steps: int,
    seed: int,
    track: Track = iter,
) -> dict[str, list[Episode]]:
    """Play random, smooth and the given policies in an unchanged MuJoCo and in each changed one, from the same starts.

    Args:
        task: the robot.
        policies: of the kind that was recorded.
        spread: (S,) standard deviations of the observation.
        episodes: in each world.
        steps: of each episode, at most.
        seed: of the random actions.
        track: shows progress.

    Returns:
        Name of the world -> its episodes; none where the change does not move the robot at all.
    """
    space = task.action_space
    actors: dict[str, Actor] = {
        "random": RandomActor(space, seed),
        "smooth": RandomActor(space, seed + 1, memory=0.9),
        **policies,
    }
    physics = PhysicsWorld(task)
    try:
        found = {NOMINAL: _play(physics, list(actors.values()), episodes, steps, seed, track)}
        larger = [LargerActor(actor, space) for actor in actors.values()]
        found[LARGER] = _play(physics, larger, episodes, steps, seed, track)
        found[UNSEEN] = _play(physics, _swings(space, seed), episodes, steps, seed, track)
    finally:
        physics.close()
    for change in {change.axis: change for change in changes(spread) if change.axis in AXES}.values():
        name = f"{change.axis} {change.amount}"
        world = PhysicsWorld(task, name, change.disturbance)
        try:
            played = _play(world, list(actors.values()), episodes, steps, seed, track)
        finally:
            world.close()
        found[name] = played if _moved(found[NOMINAL], played, spread) else []
    return found


def _play(
    world: PhysicsWorld, actors: Sequence[Actor], episodes: int, steps: int, seed: int, track: Track
) -> list[Episode]:
    """Equal shares of the actors; only what is longer than what is watched."""
    played: list[Episode] = []
    for actor, rows in zip(actors, np.array_split(np.arange(episodes), len(actors)), strict=True):
        starts = world.resets([FIRST_SEED + int(row) for row in rows])
        played += world.play(actor, starts, steps, seed, track)
    return [episode for episode in played if len(episode) > WATCHED]


def _swings(space: BoxSpec, seed: int) -> list[Actor]:
    """Every motor swings through its whole range, each with a phase of its own: nobody recorded that."""
    generator = np.random.default_rng(seed)
    low, high = np.nan_to_num(space.low, neginf=-1.0), np.nan_to_num(space.high, posinf=1.0)
    still = tuple(np.zeros(len(low)).tolist())
    return [
        ScriptedPolicy(
            low=tuple(low.tolist()),
            high=tuple(high.tolist()),
            offset=tuple(((low + high) / 2).tolist()),
            amplitude=tuple(((high - low) / 2).tolist()),
            phase=tuple(generator.uniform(0, 2 * np.pi, len(low)).tolist()),
            noise=still,
            period=float(generator.uniform(5, 40)),
        )
        for _ in range(_UNSEEN)
    ]


def _moved(unchanged: Sequence[Episode], changed: Sequence[Episode], spread: FloatArray) -> bool:
    """Whether any episode went another way than its twin."""
    if [len(episode) for episode in unchanged] != [len(episode) for episode in changed]:
        return True
    pairs = zip(unchanged, changed, strict=True)
    scale = np.maximum(spread, 1e-9)
    return any(np.abs((a.observations - b.observations) / scale).max() > MOVES for a, b in pairs)
