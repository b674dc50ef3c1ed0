"""The containers that travel between the rooms: frozen, with the shape and unit of every field.

Dimension letters used everywhere in the package:

    B  batch rows (one row is one rollout)      T  steps of an episode      L  steps of a window
    S  numbers in a state observation           A  numbers in an action     H, W  pixels
    M  members of an ensemble                   N  episodes or start states

One convention of time holds everywhere: ``observation[t], action[t] -> reward[t], termination[t], observation[t+1]``.
Units are SI; frames are uint8 (H, W, 3) RGB on disk and in environments, float (3, H, W) in [0, 1] inside models.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

FloatArray = np.ndarray[Any, np.dtype[np.floating]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]
FrameArray = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class BoxSpec:
    """A bounded continuous space as plain values (what ``gymnasium.spaces.Box`` holds)."""

    low: tuple[float, ...]
    """(D,) lower bounds; ``-inf`` where there is none."""
    high: tuple[float, ...]
    """(D,) upper bounds; ``inf`` where there is none."""

    @property
    def size(self) -> int:
        """D, the number of values."""
        return len(self.low)


LARGEST_FRAME = 4096
"""Pixels to a side of a camera's frame at most, those that are drawn for several samples included."""
_MOST_SAMPLES = 8


@dataclass(frozen=True)
class CameraSpec:
    """Where a camera looks from, and the size of its frames."""

    name: str
    """The feature is stored as ``observation.images.NAME``."""
    width: int = 64
    height: int = 64
    fixed: str | None = None
    """Name of a camera of the robot's own MuJoCo model; None for the free camera described below."""
    lookat: tuple[float, float, float] | None = None
    """Point looked at, m; None for the model's own centre."""
    distance: float | None = None
    """Distance from ``lookat``, m; None for the model's own extent."""
    azimuth: float = 90.0
    """Degrees."""
    elevation: float = -45.0
    """Degrees."""
    track_body: str | None = None
    """Body that the free camera follows; None for a camera that stands still."""
    samples: int = 1
    """Points to a pixel's side whose mean is the pixel, as a real one gathers the light of its whole area; 1 is the
    fastest, and leaves edges in steps."""

    @property
    def drawn_size(self) -> tuple[int, int]:
        """Width and height of what is drawn, ``samples`` times as large as the frame."""
        return self.width * self.samples, self.height * self.samples

    def samples_fault(self) -> str:
        """What is wrong with ``samples``, in words; empty where nothing is."""
        possible = isinstance(self.samples, int) and 1 <= self.samples <= _MOST_SAMPLES
        if possible and (self.samples == 1 or max(self.drawn_size) <= LARGEST_FRAME):
            return ""
        return (
            f"camera {self.name!r}: samples={self.samples!r}, 1 to {_MOST_SAMPLES} are possible, "
            f"and {LARGEST_FRAME} to a side of the frame"
        )


@dataclass(frozen=True)
class ObservationMap:
    """What the numbers of a state observation mean, as far as it is known. Empty where nothing is."""

    sin_cos: tuple[tuple[int, int], ...] = ()
    """(index of the sine, index of the cosine) of each angle that is observed as a pair."""
    quaternions: tuple[int, ...] = ()
    """First index of each unit quaternion (w, x, y, z)."""
    angles: tuple[int, ...] = ()
    """Indices of angles in rad that turn without a limit."""
    qpos: tuple[Mapping[str, Any], ...] = ()
    """How to find each number of the simulator's qpos in the observation, for drawing. Each entry is one of
    ``{"kind": "angle", "sin": i, "cos": j}``, ``{"kind": "linear", "index": i, "offset": c}``,
    ``{"kind": "fitted", "weights": [S numbers], "offset": c, "r2": x}`` or ``{"kind": "constant", "value": c}``."""


@dataclass(frozen=True)
class TaskSpec:
    """What was recorded: the robot, its spaces and its clock, as plain values that survive JSON."""

    name: str
    observation_space: BoxSpec
    """Of the state observation (S); size 0 where only cameras were recorded."""
    action_space: BoxSpec
    control_dt: float
    """Seconds between two actions, exact."""
    max_episode_steps: int
    """The task's own episode limit, steps."""
    env_id: str | None = None
    """Gymnasium id; None for a recording that has no simulator."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    cameras: tuple[CameraSpec, ...] = ()
    observation_map: ObservationMap = field(default_factory=ObservationMap)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for ``json.dump`` (bounds without an end become ``"inf"`` and ``"-inf"``)."""
        plain = asdict(self)
        for space in ("observation_space", "action_space"):
            for bound in ("low", "high"):
                plain[space][bound] = [v if np.isfinite(v) else str(v) for v in plain[space][bound]]
        for camera in plain["cameras"]:
            if camera["samples"] == 1:  # as it was written before there were samples: such recordings are the same
                del camera["samples"]
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> TaskSpec:
        """Inverse of :meth:`to_dict`. Raises ``TypeError``, ``KeyError`` or ``ValueError`` on a malformed mapping.

        The mapping may come from a file of somebody else: every value that is used later is checked here.
        """
        values = dict(plain)
        for space in ("observation_space", "action_space"):
            values[space] = BoxSpec(**{k: tuple(float(v) for v in values[space][k]) for k in ("low", "high")})
        values["cameras"] = tuple(
            CameraSpec(**{**c, "lookat": None if c["lookat"] is None else tuple(c["lookat"])})
            for c in values["cameras"]
        )
        described = values["observation_map"]
        values["observation_map"] = ObservationMap(
            sin_cos=tuple((int(s), int(c)) for s, c in described["sin_cos"]),
            quaternions=tuple(described["quaternions"]),
            angles=tuple(described["angles"]),
            qpos=tuple(described["qpos"]),
        )
        task = cls(**values)
        _check_numbers(task)
        _check_places(task)
        return task


@dataclass(frozen=True)
class Episode:
    """One recorded trajectory of T steps; never joined to another."""

    observations: FloatArray
    """(T+1, S) float32."""
    actions: FloatArray
    """(T, A) float32: ``actions[t]`` was applied at ``observations[t]``."""
    rewards: FloatArray
    """(T,) float32."""
    terminated: bool
    """The task ended by itself at the last step."""
    truncated: bool
    """The recording was cut at the last step (a limit of time or of size)."""
    control_dt: float
    """Seconds between two rows."""
    frames: Mapping[str, FrameArray] = field(default_factory=dict)
    """Camera name -> (T+1, H, W, 3) uint8."""
    qpos: FloatArray | None = None
    """(T+1, nq) float64, where a simulator was at hand."""
    qvel: FloatArray | None = None
    """(T+1, nv) float64, likewise."""
    behaviour: str = ""
    """What acted: ``random``, ``smooth``, ``policy``, ``noisy_policy`` or the recorder's own word."""
    seed: int = 0
    """What the environment was reset with."""

    def __len__(self) -> int:
        """T, the number of steps."""
        return len(self.actions)

    @property
    def terminations(self) -> BoolArray:
        """(T,) bool: all False but perhaps the last."""
        flags = np.zeros(len(self), dtype=np.bool_)
        if self.terminated:
            flags[-1] = True
        return flags


@dataclass(frozen=True)
class Segment:
    """A batch of windows cut from episodes, never across an episode's end; short episodes are padded."""

    observations: Tensor
    """(B, L+1, S): what a model's ``encode`` makes of what was recorded; the raw state itself in a state model."""
    actions: Tensor
    """(B, L, A)."""
    rewards: Tensor
    """(B, L)."""
    terminations: Tensor
    """(B, L) in {0, 1}."""
    mask: Tensor
    """(B, L): 1 where the step was recorded, 0 where it is padding."""
    frames: Mapping[str, Tensor] = field(default_factory=dict)
    """Camera name -> (B, L+1, H, W, 3) uint8."""
    begins: Tensor | None = None
    """(B,): 1 where the window begins as its episode does, 0 where it begins amid one; None where nobody asks."""


@dataclass(frozen=True)
class Observation:
    """What a model is shown at one moment: a state, camera frames, or both."""

    state: Tensor | None = None
    """(B, S) raw values."""
    frames: Mapping[str, Tensor] = field(default_factory=dict)
    """Camera name -> (B, 3, H, W) in [0, 1]."""


@dataclass(frozen=True)
class LatentState:
    """What a world model carries from step to step: named tensors, batch first. Each model documents its own names."""

    values: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.values[name]

    def __len__(self) -> int:
        """B, the number of rows."""
        return len(next(iter(self.values.values())))

    def map(self, function: Callable[[Tensor], Tensor]) -> LatentState:
        """Apply a function to every tensor."""
        return LatentState({name: function(value) for name, value in self.values.items()})

    def rows(self, index: Tensor) -> LatentState:
        """The rows that ``index`` names (integers or a boolean mask)."""
        return self.map(lambda value: value[index])


@dataclass(frozen=True)
class Prediction:
    """What a world model says of a latent state."""

    reward: Tensor
    """(B,): of the step that led here."""
    continuation: Tensor
    """(B,): probability that the episode goes on from here."""
    spread: Tensor
    """(B,): how far the model disagrees with itself about the step that led here, in training standard deviations."""
    state: Tensor | None = None
    """(B, S) decoded state observation, raw units."""
    frames: Mapping[str, Tensor] = field(default_factory=dict)
    """Camera name -> (B, 3, H, W) in [0, 1]."""


_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")  # of a camera: it becomes the name of a folder
_LONGEST = 2**31
_LARGEST = 3e38  # of float32, in which observations and actions are held


def _check_numbers(task: TaskSpec) -> None:
    """Refuse names, times and bounds that are none."""
    if not isinstance(task.name, str) or not isinstance(task.env_id, str | None):
        raise TypeError(f"name={task.name!r} and env_id={task.env_id!r} must be text")
    if not isinstance(task.env_kwargs, Mapping):
        raise TypeError(f"env_kwargs={task.env_kwargs!r} must be a mapping")
    if not isinstance(task.control_dt, int | float) or not 1e-6 <= task.control_dt <= 1e6:
        raise ValueError(f"control_dt={task.control_dt!r} is no number of seconds")
    if not isinstance(task.max_episode_steps, int) or not 1 <= task.max_episode_steps < _LONGEST:
        raise ValueError(f"max_episode_steps={task.max_episode_steps!r} is no number of steps")
    for space in (task.observation_space, task.action_space):
        bounds = zip(space.low, space.high, strict=True)
        if not all(low <= high and low < _LARGEST and high > -_LARGEST for low, high in bounds):  # false for NaN
            raise ValueError("a space's lower bound lies above its upper one, or no number lies between them")
    for camera in task.cameras:
        if not isinstance(camera.name, str) or not _NAME.fullmatch(camera.name):
            raise ValueError(f"camera name {camera.name!r}")
        for size in (camera.width, camera.height):
            if not isinstance(size, int) or not 1 <= size <= LARGEST_FRAME:
                raise ValueError(f"camera {camera.name!r}: {size!r} is no number of pixels")
        if fault := camera.samples_fault():
            raise ValueError(fault)
        lookat = (0.0, 0.0, 0.0) if camera.lookat is None else camera.lookat
        pose = [camera.azimuth, camera.elevation, 1.0 if camera.distance is None else camera.distance, *lookat]
        named = [name for name in (camera.fixed, camera.track_body) if name is not None]
        if (
            len(pose) != 6
            or not all(isinstance(n, int | float) for n in pose)
            or not all(isinstance(n, str) for n in named)
        ):
            raise ValueError(f"camera {camera.name!r}: its pose is not one of numbers and names")
    if len({camera.name for camera in task.cameras}) < len(task.cameras):
        raise ValueError("two cameras have the same name")


def _check_places(task: TaskSpec) -> None:
    """Refuse a map that points beyond the observation."""
    described, size = task.observation_map, task.observation_space.size
    named = [*described.angles, *(index for pair in described.sin_cos for index in pair)]
    named += [first + offset for first in described.quaternions for offset in (0, 3)]
    for entry in described.qpos:
        if not isinstance(entry, Mapping):
            raise TypeError(f"observation_map.qpos holds {entry!r}")
        named += [entry[key] for key in ("sin", "cos", "index") if key in entry]
        weights = entry.get("weights", (0.0,) * size)
        numbers = [entry.get("offset", 0.0), entry.get("value", 0.0), *weights]
        if len(weights) != size or not all(isinstance(number, int | float) for number in numbers):
            raise ValueError(f"observation_map.qpos holds {len(weights)} weights for {size} numbers, or no numbers")
    for index in named:
        if not isinstance(index, int) or not 0 <= index < size:
            raise ValueError(f"observation_map names number {index!r} of an observation of {size}")
