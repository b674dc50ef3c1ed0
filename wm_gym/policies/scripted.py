"""Policies that act by the clock alone, as plain data: doing nothing, pushing, swinging, uniform noise."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from wm_gym.errors import ModelError
from wm_gym.files import read_json, write_json
from wm_gym.types import BoxSpec, FloatArray

SCHEMA_VERSION = 1
_VECTORS = ("low", "high", "offset", "amplitude", "phase", "noise")

IntArray = np.ndarray[Any, np.dtype[np.integer]]


@dataclass(frozen=True)
class ScriptedPolicy:
    """``offset + amplitude * sin(2 pi step / period + phase) + noise * u``, clipped to the bounds.

    u is uniform in [-1, 1) and depends on seed, episode and step alone: an episode meets the same actions in every
    world. All vectors are (A,), in the action's own units.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    offset: tuple[float, ...]
    amplitude: tuple[float, ...]
    phase: tuple[float, ...]
    """rad."""
    noise: tuple[float, ...]
    period: float = 1.0
    """Steps."""
    seed: int = 0

    def act(self, observation: FloatArray, episodes: IntArray, step: int) -> FloatArray:
        """Actions (B, A) float32 of the episodes numbered ``episodes`` (B,), all at ``step``, whatever is observed."""
        swing = np.sin(2 * np.pi * step / self.period + np.array(self.phase))
        actions = np.tile(np.array(self.offset) + np.array(self.amplitude) * swing, (len(episodes), 1))
        if any(self.noise):
            draws = [np.random.default_rng((self.seed, int(episode), step)) for episode in episodes]
            actions += np.array(self.noise) * [draw.uniform(-1.0, 1.0, len(self.low)) for draw in draws]
        return np.asarray(np.clip(actions, self.low, self.high), np.float32)

    def save(self, folder: Path) -> None:
        """Write ``script.json``."""
        write_json(folder / "script.json", {"schema_version": SCHEMA_VERSION, **asdict(self)})


def load_script(path: Path) -> ScriptedPolicy:
    """Read a ``script.json``.

    Raises:
        ModelError: it is missing, damaged or of another version.
    """
    values = read_json(path, ModelError)
    if values.pop("schema_version", None) != SCHEMA_VERSION or values.keys() != {
        f.name for f in fields(ScriptedPolicy)
    }:
        raise ModelError(f"{path}: not a scripted policy of schema {SCHEMA_VERSION}; make the panel again")
    try:
        vectors = {name: tuple(map(float, values[name])) for name in _VECTORS}
        script = ScriptedPolicy(**vectors, period=float(values["period"]), seed=int(values["seed"]))
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: damaged: {error}") from error
    sizes = {len(vector) for vector in vectors.values()}
    if len(sizes) != 1 or not np.isfinite([*vectors.values()]).all() or not script.period > 0 or script.seed < 0:
        raise ModelError(f"{path}: damaged: vectors of one size, finite numbers and a positive period are needed")
    return script


def write_scripts(space: BoxSpec, control_dt: float, seed: int) -> dict[str, ScriptedPolicy]:
    """One script of each kind for an action space: ``zero``, ``constant``, ``sine`` (twice a second) and ``random``.

    Args:
        space: of the actions; an end that does not exist is taken at one unit.
        control_dt: s between two actions.
        seed: of the constant push, the phases and the noise.
    """
    low, high = np.nan_to_num(space.low, neginf=-1.0), np.nan_to_num(space.high, posinf=1.0)
    centre, reach, none = (low + high) / 2, (high - low) / 2, np.zeros(space.size)
    generator = np.random.default_rng(seed)
    push, phase = generator.uniform(low, high), generator.uniform(0.0, 2 * np.pi, space.size)

    def script(offset: FloatArray, amplitude: FloatArray = none, noise: FloatArray = none) -> ScriptedPolicy:
        plain = dict(zip(_VECTORS, (low, high, offset, amplitude, phase, noise), strict=True))
        vectors = {name: tuple(vector.tolist()) for name, vector in plain.items()}
        return ScriptedPolicy(**vectors, period=max(2.0, 0.5 / control_dt), seed=seed)

    return {
        "zero": script(np.clip(none, low, high)),
        "constant": script(push),
        "sine": script(centre, amplitude=0.8 * reach),
        "random": script(centre, noise=reach),
    }
