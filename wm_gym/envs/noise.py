"""Random numbers that belong to a row: a function of its seed, its step and a stream, and of nothing else.

A counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") needs no state, so that
row 3 of a batch of 1,000 draws exactly what a single environment with its seed draws, in any order, on any device.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]
_MASK = 0xFFFFFFFF
_NINE, _FIFTEEN, _SIXTEEN = np.uint32(9), np.uint32(15), np.uint32(16)
_FIRST, _SECOND = np.uint32(0x21F0AAAD), np.uint32(0x735A2D97)


class Stream(IntEnum):
    """What a number is drawn for; different streams are independent."""

    DYNAMICS = 1
    TERMINATION = 2
    START = 3
    MEMBER = 4


def uniform(seeds: Tensor, counters: Tensor, stream: Stream, size: int) -> Tensor:
    """Uniform float32 numbers in (0, 1), both ends excluded.

    Args:
        seeds: (B,) int64, of the rows.
        counters: (B,) int64, the step or episode that the numbers are for.
        stream: what they are for.
        size: how many a row needs.

    Returns:
        (B, size).
    """
    index = torch.arange(size, device=seeds.device)
    key = _mix((seeds & _MASK) ^ 0x9E3779B9)
    key = _mix(key ^ ((seeds >> 32) & _MASK))
    key = _mix(key ^ (counters & _MASK))
    key = _mix(key ^ (int(stream) * 0x85EBCA6B & _MASK))
    bits = _mix(_mix((key.unsqueeze(-1) + index * 0x9E3779B9) & _MASK) ^ index)
    # 23 bits and a half: the largest value is still below one in float32.
    return ((bits >> 9).float() + 0.5) * 2.0**-23


def _mix(x: Tensor) -> Tensor:
    """A 32-bit finalizer on int64 tensors: two rounds of multiply and shift scatter every input bit."""
    x = x ^ (x >> 16)
    x = (x * 0x21F0AAAD) & _MASK
    x = x ^ (x >> 15)
    x = (x * 0x735A2D97) & _MASK
    return x ^ (x >> 15)


class RowNoise:
    """:func:`uniform` of several streams at once, on the CPU: unsigned numpy numbers overflow as the generator wants.

    The part of the work that depends on the seeds alone is kept for the next call.
    """

    def __init__(self, sizes: Mapping[Stream, int]) -> None:
        """Draw ``sizes[stream]`` numbers a row for each stream."""
        self._stream = np.concatenate([np.full(size, int(stream), np.uint32) for stream, size in sizes.items()])
        self._stream = self._stream * np.uint32(0x85EBCA6B)
        self._index = np.concatenate([np.arange(size, dtype=np.uint32) for size in sizes.values()])
        self._spread = self._index * np.uint32(0x9E3779B9)
        self._seeds: Array = np.zeros(0, np.int64)
        self._key: Array = np.zeros((0, 1), np.uint32)

    def draw(self, seeds: Array, counters: Array) -> Array:
        """The streams' numbers side by side, (B, sum of sizes) float32, for seeds and counters (B,) int64."""
        if not np.array_equal(seeds, self._seeds):
            self._seeds = seeds.copy()
            key = _mix_in_place(seeds.astype(np.uint32)[:, None] ^ np.uint32(0x9E3779B9))
            self._key = _mix_in_place(key ^ (seeds >> 32).astype(np.uint32)[:, None])
        key = _mix_in_place(self._key ^ counters.astype(np.uint32)[:, None])
        bits = _mix_in_place(key ^ self._stream)
        bits += self._spread
        bits = _mix_in_place(bits)
        bits ^= self._index
        bits = _mix_in_place(bits)
        bits >>= _NINE
        drawn = bits.astype(np.float32)
        drawn += np.float32(0.5)
        drawn *= np.float32(2.0**-23)
        return drawn


def _mix_in_place(x: Array) -> Array:
    """:func:`_mix` of uint32 numbers."""
    x ^= x >> _SIXTEEN
    x *= _FIRST
    x ^= x >> _FIFTEEN
    x *= _SECOND
    x ^= x >> _FIFTEEN
    return x
