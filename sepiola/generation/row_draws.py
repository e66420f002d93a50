"""Draws that belong to a row: what a row writes depends on its own seed, whoever shares the batch, and when.

A token is drawn by the Gumbel trick (Gumbel 1954; arXiv 1611.01144): the largest of logit plus noise. Logits of a batch
and of a lone row differ by rounding, for they are summed in another order. Other tokens are drawn only where the two
largest sums are as near as that: about once in a million tokens of float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def seed_of(*parts: object) -> int:
    """A seed of 62 bits that any texts and numbers name."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 2


class RowDraws:
    """Draws for rows of these seeds, each by a generator of its own. Every `pick` is the next step of all rows."""

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.each = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def select(self, rows: Tensor) -> None:
        """Keeps these rows."""
        self.each = [self.each[row] for row in rows.tolist()]

    def pick(self, logits: Tensor) -> Tensor:
        """A token of each row, by logits `(rows, vocabulary)`."""
        uniform = torch.empty_like(logits)
        for row, generator in zip(uniform, self.each, strict=True):
            row.uniform_(generator=generator)
        return (logits - uniform.log_().neg_().log_()).argmax(1)
