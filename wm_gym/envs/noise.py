"""Random numbers that belong to a row: a function of its seed, its step and a stream, and of nothing else.

A counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") needs no state, so that
row 3 of a batch of 1,000 draws exactly what a single environment with its seed draws, in any order, on any device.
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF


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
