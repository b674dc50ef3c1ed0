"""Physics: does the imagination keep to joint limits, to the ground, and to an energy that the robot can have?

Imagined observations are turned into joint positions and velocities and held against what MuJoCo says of them. What
counts as a violation is measured on MuJoCo's own episodes, which press into soft stops and contacts too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np

from wm_gym.evaluation.bench import Bench
from wm_gym.evaluation.records import Record, column, of
from wm_gym.evaluation.sections.section import Measured, Plain, Section, untested
from wm_gym.evaluation.statistics import mean_interval
from wm_gym.evaluation.verdicts import gate
from wm_gym.evaluation.worlds import moments_of
from wm_gym.physics.observation_map import qpos_from_observation
from wm_gym.types import FloatArray

MEASURES = ("limit", "penetration", "energy")
MARGIN = 0.05
"""A violation is beyond MuJoCo's own worst by this share of MuJoCo's range, and by ``LEAST``."""
LEAST = {"limit": 0.01, "penetration": 0.001, "energy": 1e-3}
"""rad or m, m, J."""
FITTED = 0.999
"""Share of the velocities' variance that the observation must explain, where energy is asked for."""
GATE = 0.1
SHORT = 10
"""Steps of the pieces that augment data: the gate asks about these, longer ones are only shown."""


def measure(bench: Bench) -> Measured:
    """The worst of each held-out episode, in MuJoCo and in the imagination under the same actions."""
    held_out = bench.held_out
    if not bench.task.observation_map.qpos:
        return Measured()
    imagined = bench.world.follow(moments_of(held_out.episodes, held_out.start), held_out.future_actions).observations
    judge_state = _StateJudge(bench)
    measured = [name for name in MEASURES if name != "energy" or judge_state.knows_energy]
    records = []
    for row, episode in enumerate(held_out.episodes):
        steps = int(held_out.running[row].sum())
        for world, seen in (("physics", held_out.truth[row, :steps]), ("imagination", imagined[row, :steps])):
            measures = judge_state.measure(seen)
            shared = {"world": world, "episode": row, "seed": episode.seed}
            records.append(shared | {"whole": _worst(measures, measured), "short": _worst(measures[:SHORT], measured)})
    return Measured(records)


class _StateJudge:
    """Knows the robot: its limits, its contacts, its energy."""

    def __init__(self, bench: Bench) -> None:
        self._model, self._map = bench.physics.model, bench.task.observation_map
        self._data = mujoco.MjData(self._model)
        seen = np.concatenate([episode.observations for episode in bench.held_out.episodes]).astype(np.float64)
        speeds = np.concatenate([e.qvel for e in bench.held_out.episodes if e.qvel is not None])
        self._velocity, explained = _linear(seen, speeds)
        self.knows_energy = explained >= FITTED
        """Whether the velocities follow from what is observed."""

    def measure(self, observations: FloatArray) -> FloatArray:
        """(T, 3) excess over a limit (rad or m), depth (m) and energy (J) of each state (T, S); NaN if not finite.

        The energy is NaN throughout where it is not known.
        """
        found = np.full((len(observations), len(MEASURES)), np.nan)
        for step in np.flatnonzero(np.isfinite(observations).all(axis=1)):
            found[step] = self._measure(observations[step])
        return found

    def _measure(self, observation: FloatArray) -> tuple[float, float, float]:
        model, data = self._model, self._data
        data.qpos[:] = qpos_from_observation(self._map, observation)
        data.qvel[:] = np.append(observation, 1.0) @ self._velocity
        mujoco.mj_forward(model, data)
        joints = np.flatnonzero(model.jnt_limited)
        places = data.qpos[model.jnt_qposadr[joints]]
        beyond = np.maximum(model.jnt_range[joints, 0] - places, places - model.jnt_range[joints, 1])
        depths = -data.contact.dist if data.ncon else np.zeros(0)
        mujoco.mj_energyPos(model, data)
        mujoco.mj_energyVel(model, data)
        energy = float(np.sum(data.energy)) if self.knows_energy else np.nan
        return max(0.0, *beyond, 0.0), max(0.0, *depths, 0.0), energy


def _worst(measures: FloatArray, measured: Sequence[str]) -> dict[str, float | None]:
    """The largest of each that is measured; None where a state was not finite."""
    worst = dict(zip(MEASURES, measures.max(axis=0), strict=True))
    return {name: float(worst[name]) if np.isfinite(worst[name]) else None for name in measured}


def _linear(seen: FloatArray, wanted: FloatArray) -> tuple[FloatArray, float]:
    """Least squares from observations (n, S) to (n, D): weights (S+1, D), and the worst share of variance explained."""
    inputs = np.concatenate([seen, np.ones((len(seen), 1))], axis=1)
    weights = np.linalg.lstsq(inputs, wanted, rcond=None)[0]
    left = np.square(inputs @ weights - wanted).mean(0)
    varies = wanted.var(0) > 1e-12
    return weights, float(np.min(1.0 - left[varies] / wanted.var(0)[varies], initial=1.0))


def judge(records: Sequence[Record], known: Mapping[str, Any], generator: np.random.Generator) -> Plain:
    """Share of imagined episodes that go further than any of MuJoCo's own: of each kind, and of any."""
    if not records:
        return untested("the observation does not tell where the joints are")
    real, dream = of(records, world="physics"), of(records, world="imagination")
    section: Plain = {"tested": True, "episodes": len(dream), "short": SHORT}
    broken = {span: np.zeros(len(dream), dtype=bool) for span in ("short", "whole")}
    for name in MEASURES:
        if name not in real[0]["whole"]:
            section[name] = untested("the observation does not tell the velocities")
            continue
        bound = _bound(_of(real, "whole", name), LEAST[name])
        section[name] = {
            "tested": True,
            "bound": bound,
            "worst": float(np.nanmax(_of(dream, "whole", name), initial=0.0)),
        }
        for span, so_far in broken.items():
            # What is not finite has no joints at all.
            violations = ~(_of(dream, span, name) <= bound)
            so_far |= violations
            section[name][span] = mean_interval(violations.astype(np.float64), generator).to_dict()
    section["implausible"] = mean_interval(broken["short"].astype(np.float64), generator).to_dict()
    section["implausible_whole"] = mean_interval(broken["whole"].astype(np.float64), generator).to_dict()
    section["gates"] = [gate("implausible", section["implausible"], at_most=GATE)]
    return section


def _of(records: Sequence[Record], span: str, name: str) -> FloatArray:
    return column([record[span] for record in records], name)


def _bound(own: FloatArray, least: float) -> float:
    return float(own.max() + max(MARGIN * (own.max() - own.min()), least))


SECTION = Section("physics", measure, judge)
