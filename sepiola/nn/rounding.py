"""Numbers of 4 bits: whole multiples, -8 to 7, of a float16 scale that 32 columns of a row share (llama.cpp's Q4_0, and
the native core's int4).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

GROUP = 32
"""Columns that share a scale."""
LOW, HIGH = -8, 7
DIVISORS = [LOW + 0.2 * step for step in range(-4, 9)]
"""The largest weight of a group by each of these is a scale that is tried, as in the core (edge/native/format.cpp)."""


def group_scales(weight: Tensor, importance: Tensor | None = None) -> Tensor:
    """The scale of each group of a matrix `(rows, columns)`, `(rows, groups)`.

    It is what the group was rounded by before, or else of some the one with the least squared error, in which a column
    counts by its `importance` `(columns,)`.
    """
    padding = -weight.shape[1] % GROUP
    groups = nn.functional.pad(weight, (0, padding)).unflatten(1, (-1, GROUP))
    counts = torch.ones(weight.shape[1]) if importance is None else importance
    counts = nn.functional.pad(counts, (0, padding)).unflatten(0, (-1, GROUP))
    largest = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))[..., 0]
    best, least = torch.zeros_like(largest), (groups.square() * counts).sum(-1)
    for divisor in DIVISORS:
        scale = (largest / divisor).half().float()
        error = ((groups - nearest(groups, scale[..., None])).square() * counts).sum(-1)
        better = error < least
        best, least = torch.where(better, scale, best), torch.where(better, error, least)
    for whole in range(1, 1 - LOW):
        scale = (largest / -whole).half().float()
        exact = (nearest(groups, scale[..., None]) == groups).all(-1)
        best = torch.where(exact, scale, best)
    return best


def wholes(weights: Tensor, scale: Tensor) -> Tensor:
    """What of the whole numbers that 4 bits hold is nearest to weights over a scale."""
    return (weights * torch.where(scale == 0, 0.0, 1 / scale)).round().clamp(LOW, HIGH)


def nearest(weights: Tensor, scale: Tensor) -> Tensor:
    """The numbers of 4 bits that are nearest to weights."""
    return wholes(weights, scale) * scale


def q4_0(weight: Tensor) -> Tensor:
    """A matrix, whose columns are a multiple of 32, in llama.cpp's Q4_0: of each group its scale, and 16 bytes with a
    column in the low half and the one 16 further in the high; `(rows, bytes)`.
    """
    scales = group_scales(weight)
    whole = (wholes(weight.unflatten(1, (-1, GROUP)), scales[..., None]) - LOW).to(torch.uint8)
    halves = whole[..., : GROUP // 2] | whole[..., GROUP // 2 :] << 4
    return torch.cat((scales.half()[..., None].view(torch.uint8), halves), dim=-1).flatten(1)
