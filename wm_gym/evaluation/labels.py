"""What an observed number is called."""

from __future__ import annotations

from wm_gym.types import ObservationMap


def number_label(index: int, described: ObservationMap) -> str:
    """What an observed number is, as far as the recording says."""
    for joint, pair in enumerate(described.sin_cos):
        if index in pair:
            return f"{index}: {'sine' if index == pair[0] else 'cosine'} of angle {joint + 1}"
    for first in described.quaternions:
        if first <= index < first + 4:
            return f"{index}: quaternion {'wxyz'[index - first]}"
    if index in described.angles:
        return f"{index}: angle"
    for joint, entry in enumerate(described.qpos):
        if entry.get("kind") == "linear" and entry.get("index") == index:
            return f"{index}: position {joint + 1}"
    return f"{index}"
