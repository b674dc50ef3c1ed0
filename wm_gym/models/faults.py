"""What can be wrong with a model whose files are whole: sizes that do not fit each other, values that are none.

Each function yields every fault that it finds, in a line of its own with its place and remedy. Loading a model raises
the first; ``python -m wm_gym.verify`` lists them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from wm_gym.models.checkpoint import tensors_not_finite
from wm_gym.models.world_model import WorldModel

REMEDY = "train the model again, or copy its folder again"
LARGEST_SIZE = 4096
"""A larger number in a model's configuration is no size of a network."""
LARGEST_SCALE = 1e30
"""A larger value of the normalizer measures no robot, and bounds of ten times its size would be no numbers."""
MOST_SIZES = 64
"""A longer list in a model's configuration is no list of layers."""


def config_faults(place: Path, sizes: Any) -> Iterator[str]:
    """Check the configuration of an architecture before anything is built from it."""
    if not isinstance(sizes, Mapping):
        yield f"{place}: 'model' holds no sizes but {type(sizes).__name__}; {REMEDY}"
        return
    for name, value in sizes.items():
        entries = value if isinstance(value, list) else [value]
        if len(entries) > MOST_SIZES or any(isinstance(n, int) and not 0 <= n <= LARGEST_SIZE for n in entries):
            yield f"{place}: {name}={str(value)[:60]} is no size of a network (0 to {LARGEST_SIZE}); {REMEDY}"


def tensor_faults(place: Path, world: WorldModel, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Hold every tensor of a model's file to the architecture, to the task and to finite numbers."""
    yield from tensors_not_finite(place, tensors)
    weights = {n.removeprefix("model."): value for n, value in tensors.items() if n.startswith("model.")}
    yield from weight_faults(place, world, weights)
    yield from beside_faults(place, world, tensors)
    yield from scale_faults(place, weights)


def weight_faults(place: Path, model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[str]:
    """Compare names, shapes and kinds of numbers with those of the architecture."""
    own = model.state_dict()
    for name in sorted(own.keys() ^ weights.keys()):
        yield f"{place}: {name!r} is {'missing' if name in own else 'of no use'}; {REMEDY}"
    for name in sorted(own.keys() & weights.keys()):
        if own[name].shape != weights[name].shape:
            yield f"{place}: {name!r} has shape {_shape(weights[name])}, {_shape(own[name])} is needed; {REMEDY}"
        elif own[name].dtype != weights[name].dtype:
            yield f"{place}: {name!r} holds {weights[name].dtype}, {own[name].dtype} is needed; {REMEDY}"


def beside_faults(place: Path, world: WorldModel, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Compare what lies beside the weights (start states, support, calibration) with embeddings and actions."""
    states, actions = world.embedding_size, world.task.action_space.size
    pair = states + actions
    expected: dict[str, tuple[int | None, ...]] = {
        "support.low": (pair,),
        "support.high": (pair,),
        "support.mean": (pair,),
        "support.whitening": (pair, pair),
        "support.radius": (),
        "calibration.scale": (2, None),
        "calibration.horizon": (),
    }
    steps = tensors["calibration.scale"].shape[-1] if "calibration.scale" in tensors else None
    expected |= {"calibration.exponents": (2, steps, 2), "calibration.quantile": (2, steps)}
    for name in ("starts.initial", "starts.any"):
        rows, moments = tensors[name].shape[:2] if name in tensors and tensors[name].dim() == 3 else (None, 1)
        expected[name] = (rows, moments, states)
        expected[f"{name}_actions"] = (rows, moments - 1, actions)
    for name, shape in expected.items():
        if name not in tensors:
            yield f"{place}: {name!r} is missing; {REMEDY}"
        elif not _fits(tensors[name], shape):
            shown = tuple("any" if size is None else size for size in shape)
            yield f"{place}: {name!r} has shape {_shape(tensors[name])}, {shown} is needed; {REMEDY}"
        elif tensors[name].is_floating_point() == (name == "calibration.horizon"):
            yield f"{place}: {name!r} holds {tensors[name].dtype}; {REMEDY}"


def scale_faults(place: Path, weights: Mapping[str, Tensor]) -> Iterator[str]:
    """Scales of the normalizer must be positive and its values of a size, and its ranges not end before they begin."""
    held = {n.removeprefix("normalizer."): value for n, value in weights.items() if n.startswith("normalizer.")}
    for name in ("std", "delta_std", "reward_std", "action_scale"):
        if name in held and not bool((held[name] > 0).all()):
            yield f"{place}: 'normalizer.{name}' holds a scale that is not positive; {REMEDY}"
    for name, value in held.items():
        if value.is_floating_point() and not bool((value.abs() <= LARGEST_SCALE).all()):
            yield f"{place}: 'normalizer.{name}' holds a value beyond {LARGEST_SCALE:g}; {REMEDY}"
    for name, value in weights.items():
        if name.endswith(".variance") and not bool((value > 0).all()):
            yield f"{place}: {name!r} is not positive; {REMEDY}"
    ranges = [(held["low"], held["high"])] if {"low", "high"} <= held.keys() else []
    if "reward_range" in held and held["reward_range"].shape == (2,):
        ranges.append((held["reward_range"][0], held["reward_range"][1]))
    for low, high in ranges:
        if low.shape == high.shape and not bool((low <= high).all()):
            yield f"{place}: a range of the normalizer ends before it begins; {REMEDY}"


def manifest_faults(place: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """What the programs read from a model's manifest must be of its kind, where it is there."""
    kinds: dict[str, type] = {"files": dict, "dataset": dict, "commands": list, "identity": dict, "versions": dict}
    for name, kind in kinds.items():
        if name in manifest and not isinstance(manifest[name], kind):
            yield f"{place}: {name!r} is {type(manifest[name]).__name__}, {kind.__name__} is needed; {REMEDY}"


def _fits(tensor: Tensor, shape: tuple[int | None, ...]) -> bool:
    """Whether a tensor has this shape, None standing for any size, and holds something."""
    if tensor.dim() != len(shape) or (shape and not len(tensor)):
        return False
    return all(wanted in (None, size) for size, wanted in zip(tensor.shape, shape, strict=True))


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
