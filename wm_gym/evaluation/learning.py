"""How many real steps a robot takes to be learnt: with a world model, and by SAC in the physics alone.

Both sides are folders that a program left: ``agents/train_rounds.py`` or ``agents/train_dyna.py`` on the one,
``agents/train_agent.py world=physics measure_every=N`` on the other. Each is one training seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from wm_gym.errors import DataError
from wm_gym.evaluation.identity import describe_machines, seeded_command
from wm_gym.evaluation.statistics import Interval, clustered_mean_interval, crossed_mean_intervals
from wm_gym.files import read_json
from wm_gym.types import FloatArray


@dataclass(frozen=True)
class Learner:
    """One training seed of one side."""

    task: str
    seed: int
    how: Mapping[str, Any]
    """Algorithm, world and settings but the seed and the episodes of the trial."""
    real_steps: int
    returns: FloatArray
    """(N,) of the finished agent's trial in the physics, from starts that all share."""
    curve: list[dict[str, Any]]
    """``steps``, ``physical`` returns and, with a world model, the mean ``imagined`` return."""
    wall_seconds: float
    command: str
    machine: Mapping[str, Any]


def read_learner(folder: Path) -> Learner:
    """What a training left in a folder.

    Raises:
        DataError: it is not finished, or was not tried as it learnt.
    """
    found = read_json(folder / "result.json")
    try:
        trial = found["trial"][found["algorithm"]] if "trial" in found else found
        curve = [
            {"steps": int(point["steps"]), "physical": [float(value) for value in point["physical"]]}
            | ({"imagined": float(point["imagined"])} if "imagined" in point else {})
            for point in found["curve"]
        ]
        returns = np.asarray(trial["physical_returns"], np.float64)
        seconds = float(found["wall_seconds"])
        settings = {name: value for name, value in found["settings"].items() if name not in ("seed", "episodes")}
        how = {"algorithm": found["algorithm"], "world": found.get("world", "both"), **settings}
        whose = (str(found["task"]), int(found["seed"]), how, int(found["real_steps"]))
        learner = Learner(*whose, returns, curve, seconds, found["command"], found["machine"])
    except (KeyError, TypeError, ValueError) as error:
        reason = "train in the physics with measure_every=N" if found.get("world") == "physics" else "train it again"
        raise DataError(f"{folder}/result.json holds no curve of trials ({error}): {reason}") from error
    if not curve:
        raise DataError(f"{folder}/result.json holds no trial: measure more often")
    return learner


def compare_learning(inside: Sequence[Learner], control: Sequence[Learner], seed: int = 0) -> dict[str, Any]:
    """Both sides' returns, their difference, the curves, what imagination promised too much, and how they were made.

    Agents that were tried for more episodes than others count by the first ones, whose starts all share.

    Args:
        inside: learnt with a world model, each training seed once.
        control: learnt in the physics alone.
        seed: of the bootstrap, which draws training seeds, then episodes.

    Raises:
        DataError: the agents are not of one robot, those of one side not alike but for their seed, or on the wrong
            side; or they were never tried after the same number of steps.
    """
    tasks = sorted({learner.task for learner in (*inside, *control)})
    if len(tasks) > 1:
        raise DataError(f"agents of several robots ({', '.join(tasks)}) cannot be compared")
    _check_sides(inside, control)
    shared = min(len(learner.returns) for learner in (*inside, *control))
    inside, control = _with_first_episodes(inside, shared), _with_first_episodes(control, shared)
    generator = np.random.default_rng(seed)
    values = _compare(
        inside, [learner.returns for learner in control], lambda mean: _side(control, mean, generator), generator
    )
    machine = describe_machines([learner.machine for learner in (*inside, *control)])
    return values | {"commands": [_command(inside), _command(control)], "machine": machine}


def compare_again(inside: Sequence[Learner], path: Path, seed: int = 0) -> dict[str, Any]:
    """As :func:`compare_learning`, beside the control of an earlier comparison, which is taken over as it stands.

    Raises:
        DataError: the file holds no comparison of this robot with as many episodes, or as there.
    """
    published = read_json(path)
    try:
        task, control = str(published["task"]), dict(published["control"])
        command, machine = str(published["commands"][1]), str(published["machine"])
        theirs = [np.asarray(learner["returns"], np.float64) for learner in control["seeds"]]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"{path} holds no comparison ({error}): benchmarks/compare_learning.py writes such") from error
    if others := sorted({learner.task for learner in inside} - {task}):
        raise DataError(f"{path} is about {task}, and not {', '.join(others)}")
    _check_inside(inside)
    shared = len(theirs[0])
    if short := [learner for learner in inside if len(learner.returns) < shared]:
        raise DataError(
            f"{path} is about {shared} episodes, seed {short[0].seed} was tried for {len(short[0].returns)}"
        )
    values = _compare(_with_first_episodes(inside, shared), theirs, lambda _: control, np.random.default_rng(seed))
    machines = dict.fromkeys((describe_machines([learner.machine for learner in inside]), machine))
    return values | {"commands": [_command(inside), command], "machine": "; ".join(machines)}


def _with_first_episodes(learners: Sequence[Learner], episodes: int) -> list[Learner]:
    """The same learners, tried from the first starts alone."""
    return [replace(learner, returns=learner.returns[:episodes]) for learner in learners]


def _compare(
    inside: Sequence[Learner],
    theirs: Sequence[FloatArray],
    control: Callable[[Interval], Mapping[str, Any]],
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Both sides and what lies between them; ``control`` describes the other side, given its mean return."""
    found = crossed_mean_intervals([learner.returns for learner in inside], theirs, generator)
    return {
        "task": inside[0].task,
        "inside": _side(inside, found[0], generator),
        "control": control(found[1]),
        "minus_control": found[2].to_dict(),
        "excess": _excess(inside, generator),
    }


def _command(side: Sequence[Learner]) -> str:
    return seeded_command([(learner.seed, learner.command) for learner in side])


def _check_sides(inside: Sequence[Learner], control: Sequence[Learner]) -> None:
    _check_alike(control)
    for learner in control:
        if (learner.how["world"], learner.how["algorithm"]) != ("physics", "sac"):
            raise DataError(f"control: seed {learner.seed} is {learner.how['algorithm']}, not SAC in the physics")
    _check_inside(inside)


def _check_inside(inside: Sequence[Learner]) -> None:
    _check_alike(inside)
    if any("imagined" not in point for learner in inside for point in learner.curve):
        raise DataError("inside: an agent that never imagined is among them; name it as control")


def _check_alike(side: Sequence[Learner]) -> None:
    seeds = [learner.seed for learner in side]
    if len(set(seeds)) != len(seeds):
        raise DataError(f"one side holds seeds {seeds}: each seed once")
    for learner in side[1:]:
        keys = learner.how.keys() | side[0].how.keys()
        other = sorted(key for key in keys if learner.how.get(key) != side[0].how.get(key))
        if other:
            raise DataError(f"seeds {seeds[0]} and {learner.seed} of one side differ in {', '.join(other)}")
    if not _shared_steps(side):
        raise DataError(f"the seeds {seeds} of one side were never tried after the same number of steps")


def _side(learners: Sequence[Learner], mean: Interval, generator: np.random.Generator) -> dict[str, Any]:
    return {
        "real_steps": learners[0].real_steps,
        "return": mean.to_dict(),
        "seeds": [
            {
                "seed": learner.seed,
                "return": round(float(learner.returns.mean()), 4),
                "returns": learner.returns.tolist(),
                "wall_seconds": learner.wall_seconds,
                "curve": [point | {"physical": round(float(np.mean(point["physical"])), 3)} for point in learner.curve],
            }
            for learner in learners
        ],
        "wall_seconds": float(np.median([learner.wall_seconds for learner in learners])),
        "curve": [
            {"steps": steps} | clustered_mean_interval(_at(learners, steps, "physical"), generator).to_dict()
            for steps in _shared_steps(learners)
        ],
    }


def _excess(learners: Sequence[Learner], generator: np.random.Generator) -> list[dict[str, float]]:
    """Imagined mean minus physical return at each trial: {"steps", "value", "low", "high"} over seeds and episodes."""
    found = []
    for steps in _shared_steps(learners):
        physical, imagined = _at(learners, steps, "physical"), _at(learners, steps, "imagined")
        interval = clustered_mean_interval([i[0] - p for p, i in zip(physical, imagined, strict=True)], generator)
        found.append({"steps": steps} | interval.to_dict())
    return found


def _shared_steps(learners: Sequence[Learner]) -> list[int]:
    """Where every seed was tried."""
    return sorted(set.intersection(*({point["steps"] for point in learner.curve} for learner in learners)))


def _at(learners: Sequence[Learner], steps: int, name: str) -> list[FloatArray]:
    points = [next(point for point in learner.curve if point["steps"] == steps) for learner in learners]
    return [np.atleast_1d(np.asarray(point[name], np.float64)) for point in points]
