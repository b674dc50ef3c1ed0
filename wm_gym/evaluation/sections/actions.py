"""Action faithfulness: does an action do in the imagination what it does in MuJoCo?

Counterfactuals are exact here: MuJoCo is put into one saved state, and two futures differ by one action alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wm_gym.evaluation.bench import Bench
from wm_gym.evaluation.prediction import normalised_squares
from wm_gym.evaluation.records import Record, column, of
from wm_gym.evaluation.sections.section import Measured, Plain, Section, ratio_interval, untested
from wm_gym.evaluation.statistics import mean_interval
from wm_gym.evaluation.verdicts import gate
from wm_gym.evaluation.worlds import moments_of
from wm_gym.types import FloatArray

PULSE = 0.25
"""Half the difference between the two actions, in half ranges of the action."""
STEPS = 5
"""Steps over which an effect is watched."""
SHUFFLED_AT = 10
NOTICEABLE = 0.1
"""Share of an effect's own size below which its sign is chance and its onset not yet seen."""
SENSITIVITY = (0.9, 1.1)
SIGNS = 0.9


def measure(bench: Bench) -> Measured:
    """Effects of a pulse on each motor at many moments, and the open-loop error under another episode's actions."""
    return Measured([*_effects(bench), *_shuffled(bench)])


def _effects(bench: Bench) -> list[Record]:
    episodes, generator = bench.held_out.episodes, bench.generator("actions.moments")
    long = [episode for episode in episodes if len(episode) > STEPS]
    if not long:
        return []
    chosen = [long[int(index)] for index in generator.integers(0, len(long), bench.config.moments)]
    steps = [int(generator.integers(0, len(episode) - STEPS)) for episode in chosen]
    space = bench.task.action_space
    low, high = np.nan_to_num(space.low, neginf=-1.0), np.nan_to_num(space.high, posinf=1.0)
    pulse = PULSE * (high - low) / 2
    base = np.stack([episode.actions[step : step + STEPS] for episode, step in zip(chosen, steps, strict=True)])
    # The first action keeps a pulse's distance from the bounds, so that none of the two is clipped.
    base[:, 0] = np.clip(base[:, 0], low + pulse, high - pulse)
    starts, motors = moments_of(chosen, steps), space.size
    more, less = (np.repeat(base, motors, axis=0) for _ in range(2))
    motor = np.tile(np.arange(motors), len(base))
    rows = np.arange(len(motor))
    more[rows, 0, motor] += pulse[motor]
    less[rows, 0, motor] -= pulse[motor]
    both, repeated = np.concatenate([more, less]), starts.repeat(motors)
    twice = repeated.rows(np.tile(rows, 2))
    kept = list(bench.scale.moving)
    found = {}
    for name, world in (("model", bench.world), ("physics", bench.physics)):
        seen = world.follow(twice, both).observations[..., kept] / bench.scale.observation[kept]
        found[name] = seen[: len(rows)] - seen[len(rows) :]
    return [
        {"moment": int(row // motors), "motor": int(motor[row]), **{name: found[name][row].tolist() for name in found}}
        for row in rows
    ]


def _shuffled(bench: Bench) -> list[Record]:
    """Squared error of each held-out episode with its own actions, and with those of another."""
    held_out = bench.held_out
    at = min(SHUFFLED_AT, held_out.horizon)
    starts = moments_of(held_out.episodes, held_out.start)
    squares = {}
    for name, actions in (("own", held_out.future_actions), ("other", np.roll(held_out.future_actions, 1, axis=0))):
        padded = held_out.truth.copy()
        padded[:, :at] = bench.world.follow(starts, actions[:, :at]).observations
        squares[name] = normalised_squares(padded, held_out, bench.scale)[0].mean(-1)[:, at - 1]
    reached = held_out.running[:, at - 1]
    return [
        {"episode": int(row), "horizon": at, "own": float(squares["own"][row]), "other": float(squares["other"][row])}
        for row in np.flatnonzero(reached)
    ]


def judge(records: Sequence[Record], known: Mapping[str, Any], generator: np.random.Generator) -> Plain:
    """Size, direction and onset of effects, and how much the actions matter at all."""
    pulses = [record for record in records if "motor" in record]
    if not pulses:
        return untested(f"no held-out episode is longer than {STEPS} steps")
    model, physics = np.nan_to_num(column(pulses, "model")), column(pulses, "physics")
    moments = column(pulses, "moment").astype(int)
    count = int(moments.max()) + 1

    def per_moment(values: FloatArray) -> FloatArray:
        """Sums over the motors of each moment: the unit that was drawn independently."""
        return np.asarray(np.bincount(moments, weights=values, minlength=count), dtype=np.float64)

    first_model, first_physics = model[:, 0], physics[:, 0]
    together = (first_model * first_physics).sum(-1)
    size = np.square(first_physics).sum(-1)
    sensitivity = ratio_interval(per_moment(together), per_moment(size), generator).to_dict()
    typical = np.sqrt(np.square(first_physics).mean(0))
    clear = (np.abs(first_physics) > NOTICEABLE * typical) & (typical > 0)
    agree = (np.sign(first_model) == np.sign(first_physics)) & clear
    signs = ratio_interval(per_moment(agree.sum(-1)), per_moment(clear.sum(-1)), generator).to_dict()
    late = onset(model) - onset(physics)
    shuffled = of([record for record in records if "own" in record])
    own, other = np.sqrt(column(shuffled, "own")), np.sqrt(column(shuffled, "other"))
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = together.sum() / np.sqrt(np.square(first_model).sum() * size.sum())
    return {
        "tested": True,
        "moments": count,
        "motors": int(column(pulses, "motor").max()) + 1,
        "pulse": PULSE,
        "sensitivity": sensitivity,
        "by_motor": [_motor(number, pulses, together, size) for number in sorted({r["motor"] for r in pulses})],
        "sign_agreement": signs,
        "cosine": float(cosine),
        "lag_steps": mean_interval(late[np.isfinite(late)], generator).to_dict() if np.isfinite(late).any() else None,
        "response": {"model": _response(model), "physics": _response(physics)},
        "shuffle_gap": ratio_interval(other - own, other, generator).to_dict() if len(shuffled) > 1 else None,
        "shuffle_horizon": shuffled[0]["horizon"] if shuffled else None,
        "gates": [
            gate("sensitivity", sensitivity, *SENSITIVITY),
            gate("sign_agreement", signs, at_least=SIGNS),
        ],
    }


def onset(effects: FloatArray) -> FloatArray:
    """(N,) first step at which an effect (N, L, D) is noticeable beside its largest; NaN where there is no effect."""
    size = np.linalg.norm(effects, axis=-1)
    largest = size.max(axis=1, keepdims=True)
    first = (size > NOTICEABLE * largest).argmax(axis=1).astype(np.float64)
    return np.where(largest[:, 0] > 1e-9, first, np.nan)


def _response(effects: FloatArray) -> list[float]:
    """Root mean square effect after each step."""
    return [float(value) for value in np.sqrt(np.square(effects).sum(-1).mean(0))]


def _motor(number: int, pulses: Sequence[Record], together: FloatArray, size: FloatArray) -> Plain:
    mine = np.array([record["motor"] == number for record in pulses])
    total = float(size[mine].sum())
    return {"motor": number, "sensitivity": float(together[mine].sum()) / total if total > 0 else None}


SECTION = Section("actions", measure, judge)
