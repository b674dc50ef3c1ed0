"""What rows and members of an ensemble have to do with each other, whatever the members model."""

from __future__ import annotations

import torch
from torch import Tensor

MEAN = -1
"""Stands in place of a member's number where the mean of all is shown."""


def draw_members(noise: Tensor | None, rows: int, members: int, device: torch.device) -> Tensor:
    """The member (B,) int64 that each row shows: drawn from uniform ``noise`` (B, ...), or the mean of all for None."""
    if noise is None:
        return torch.full((rows,), MEAN, device=device)
    return (noise[:, 0] * members).long().clamp(max=members - 1)


def show_member(values: Tensor, member: Tensor) -> Tensor:
    """Pick from (B, M, ...) the member (B,) of each row, or the mean over members where it is ``MEAN``."""
    index = member.clamp(min=0).view(-1, *(1,) * (values.dim() - 1)).expand(-1, 1, *values.shape[2:])
    chosen = values.gather(1, index).squeeze(1)
    mask = (member == MEAN).view(-1, *(1,) * (chosen.dim() - 1))
    return torch.where(mask, values.mean(1), chosen)


def deal_rows(rows: int, members: int, device: torch.device) -> Tensor:
    """Row numbers (M, ceil(rows / M)): members learn from rows as good as disjoint, and any number of rows will do."""
    each = -(-rows // members)
    return (torch.arange(members * each, device=device) % rows).view(members, each)
