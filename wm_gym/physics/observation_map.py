"""What the numbers of a robot's observation mean, found by playing the robot and comparing with its qpos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import gymnasium
import mujoco
import numpy as np

from wm_gym.errors import RenderError
from wm_gym.types import FloatArray, ObservationMap

ROWS, EPISODES, STEPS = 600, 40, 100
"""Moments to look at; the most episodes, and the most steps of each, to find them in."""
EXACT = 1e-6
"""How closely an observed number follows what it is taken for, relative to the range of the joint's motion."""
CLOSE = 2e-2
"""The same for positions, which Gymnasium's robots observe one physics step (not one control step) late."""
MIN_R2 = 0.99
"""Share of a joint's variance, in episodes not fitted on, that a linear fit must explain to be used."""


def describe_observation(env: gymnasium.Env[Any, Any], seed: int) -> ObservationMap:
    """Play short random episodes and find every number of qpos in the observation.

    Args:
        env: a Gymnasium MuJoCo environment with a vector observation.
        seed: of the resets and of the random actions.
    """
    model = cast(Any, env.unwrapped).model
    rest = cast(Any, env.unwrapped).init_qpos
    observations, positions, episodes = _play(env, seed)
    hinges = {
        int(model.jnt_qposadr[j]): j for j in range(model.njnt) if model.jnt_type[j] == mujoco.mjtJoint.mjJNT_HINGE
    }
    entries: list[Mapping[str, Any]] = []
    sin_cos: list[tuple[int, int]] = []
    angles: list[int] = []
    for index in range(model.nq):
        entry = _locate(positions[:, index], observations, episodes, index in hinges, rest=float(rest[index]))
        entries.append(entry)
        if entry["kind"] == "angle":
            sin_cos.append((entry["sin"], entry["cos"]))
        elif entry["kind"] == "linear" and index in hinges and not model.jnt_limited[hinges[index]]:
            angles.append(entry["index"])
    return ObservationMap(tuple(sin_cos), _quaternions(model, entries), tuple(angles), tuple(entries))


def qpos_from_observation(described: ObservationMap, observation: FloatArray) -> FloatArray:
    """The simulator's qpos (nq,) float64 as far as a state observation (S,) tells it, quaternions made unit.

    Raises:
        RenderError: nothing is known of how qpos is observed.
    """
    if not described.qpos:
        raise RenderError("this task does not say how the robot's joints are observed, so its state cannot be drawn")
    observation = np.asarray(observation, dtype=np.float64)
    qpos = np.array([_read(entry, observation) for entry in described.qpos])
    for first in described.quaternions:
        at = next(i for i, entry in enumerate(described.qpos) if entry.get("index") == first)
        norm = float(np.linalg.norm(qpos[at : at + 4]))
        qpos[at : at + 4] = qpos[at : at + 4] / norm if norm > 1e-9 else (1.0, 0.0, 0.0, 0.0)
    return qpos


def _read(entry: Mapping[str, Any], observation: FloatArray) -> float:
    match entry["kind"]:
        case "angle":
            return float(np.arctan2(observation[entry["sin"]], observation[entry["cos"]]))
        case "linear":
            return float(observation[entry["index"]] + entry["offset"])
        case "fitted":
            return float(np.dot(entry["weights"], observation) + entry["offset"])
        case "constant":
            return float(entry["value"])
        case kind:
            raise RenderError(f"unknown kind {kind!r} in the description of how qpos is observed")


def _play(env: gymnasium.Env[Any, Any], seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Observations (R, S), qpos (R, nq) and the episode number (R,) of random play."""
    generator = np.random.default_rng(seed)
    data = cast(Any, env.unwrapped).data
    space = cast(gymnasium.spaces.Box, env.action_space)
    low, high = np.nan_to_num(space.low, neginf=-1.0), np.nan_to_num(space.high, posinf=1.0)
    observations, positions, episodes = [], [], []
    for episode in range(EPISODES):
        observation, _ = env.reset(seed=seed + episode)
        for _ in range(STEPS):
            observations.append(np.array(observation, dtype=np.float64))
            positions.append(np.array(data.qpos, dtype=np.float64))
            episodes.append(episode)
            observation, _, terminated, truncated, _ = env.step(generator.uniform(low, high).astype(space.dtype))
            if terminated or truncated:
                break
        if len(observations) >= ROWS and episode >= 5:
            break
    return np.array(observations), np.array(positions), np.array(episodes)


def _locate(
    target: FloatArray, observations: FloatArray, episodes: FloatArray, is_angle: bool, rest: float
) -> Mapping[str, Any]:
    """How one number of qpos (R,) is found in the observations (R, S); where it is not, it stays at ``rest``."""
    motion = float(np.std(target))
    if motion < 1e-9:
        return {"kind": "constant", "value": float(target[0])}
    if is_angle:
        sine, cosine = (_same(observations, wave) for wave in (np.sin(target), np.cos(target)))
        if sine is not None and cosine is not None:
            return {"kind": "angle", "sin": sine, "cos": cosine}
    offsets = np.median(target[:, None] - observations, axis=0)
    misses = np.sqrt(np.mean((observations + offsets - target[:, None]) ** 2, axis=0)) / motion
    best = int(np.argmin(misses))
    if misses[best] < CLOSE:
        return {"kind": "linear", "index": best, "offset": round(float(offsets[best]), 9) + 0.0}
    return _fit(target, observations, episodes) or {"kind": "constant", "value": rest}


def _same(observations: FloatArray, wave: FloatArray) -> int | None:
    misses = np.max(np.abs(observations - wave[:, None]), axis=0)
    best = int(np.argmin(misses))
    return best if misses[best] < EXACT * max(1.0, float(np.ptp(wave))) else None


def _fit(target: FloatArray, observations: FloatArray, episodes: FloatArray) -> Mapping[str, Any] | None:
    """A linear fit on every other episode, kept if it also explains the episodes between."""
    inputs = np.column_stack([observations, np.ones(len(observations))])
    seen = episodes % 2 == 0
    weights = np.linalg.lstsq(inputs[seen], target[seen], rcond=1e-8)[0]
    left = target[~seen] - inputs[~seen] @ weights
    r2 = 1.0 - float(np.sum(left**2) / max(np.sum((target[~seen] - target[~seen].mean()) ** 2), 1e-300))
    if r2 < MIN_R2:
        return None
    return {"kind": "fitted", "weights": [float(w) for w in weights[:-1]], "offset": float(weights[-1]), "r2": r2}


def _quaternions(model: mujoco.MjModel, entries: list[Mapping[str, Any]]) -> tuple[int, ...]:
    """First observation index of every orientation whose four numbers are observed in a row."""
    firsts = []
    for joint in range(model.njnt):
        kind, address = model.jnt_type[joint], int(model.jnt_qposadr[joint])
        if kind == mujoco.mjtJoint.mjJNT_FREE:
            address += 3
        elif kind != mujoco.mjtJoint.mjJNT_BALL:
            continue
        indices = [entry.get("index", -9) for entry in entries[address : address + 4]]
        if indices == list(range(indices[0], indices[0] + 4)):
            firsts.append(indices[0])
    return tuple(firsts)
