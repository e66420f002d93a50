"""Draws that belong to a row: what a row writes depends on its own seed, whoever shares the batch, and when.

A token is drawn by the Gumbel trick (Gumbel 1954; arXiv 1611.01144): the largest of logit plus noise. The noise of a
token at a step of a row is a hash of the three (SplitMix64, Steele et al. 2014), not the next number of a generator.
Logits of a batch and of a lone row differ by rounding, for they are summed in another order. Other tokens are drawn
only where the two largest sums are as near as that: about once in a million tokens of float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

_STEP, _TOKEN = -0x61C8864680B583EB, -0x3D4D51C2D82B14B1  # odd, of 64 bits; the first is SplitMix64's
_MIX = ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15))


def seed_of(*parts: object) -> int:
    """A seed of 62 bits that any texts and numbers name."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 2


class RowDraws:
    """Draws for rows of these seeds `(rows,)`. Every `pick` is the next step of all rows."""

    def __init__(self, seeds: Tensor) -> None:
        self.states = _mixed(seeds)

    def select(self, rows: Tensor) -> None:
        """Keeps these rows."""
        self.states = self.states[rows]

    def pick(self, logits: Tensor, candidates: int = 0) -> Tensor:
        """A token of each row, by logits `(rows, vocabulary)`; only so many of the likeliest are looked at."""
        self.states = self.states + _STEP
        count = min(candidates, logits.shape[1]) or logits.shape[1]
        if count < logits.shape[1]:
            values, tokens = logits.topk(count, dim=1)
        else:
            values, tokens = logits, torch.arange(count, device=logits.device).expand_as(logits)
        drawn = (values.double() + self._gumbel(tokens)).argmax(1, keepdim=True)
        return tokens.gather(1, drawn).squeeze(1)

    def _gumbel(self, tokens: Tensor) -> Tensor:
        """The noise of these tokens `(rows, tokens)` at this step."""
        bits = _mixed(self.states[:, None] + (tokens + 1) * _TOKEN)
        uniform = ((bits >> 12) & ((1 << 52) - 1)).double().add_(0.5).mul_(2.0**-52)
        return -(-uniform.log()).log()


class RowGenerators:
    """Draws for rows of these seeds by a generator each: on a CPU an eighth of the time of `RowDraws`' hashes.

    Its numbers are the next ones of a generator, so that a row begins where it began.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.each = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def select(self, rows: Tensor) -> None:
        """Keeps these rows."""
        self.each = [self.each[row] for row in rows.tolist()]

    def pick(self, logits: Tensor, candidates: int = 0) -> Tensor:
        """A token of each row, by logits `(rows, vocabulary)`, as `RowDraws` does; all are looked at."""
        uniform = torch.empty_like(logits)
        for row, generator in zip(uniform, self.each, strict=True):
            row.uniform_(generator=generator)
        return (logits - uniform.log_().neg_().log_()).argmax(1)


def _mixed(bits: Tensor) -> Tensor:
    """SplitMix64's finaliser of 64-bit numbers, which wrap around."""
    for shift, factor in _MIX:
        bits = (bits ^ _shifted(bits, shift)) * factor
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, shift: int) -> Tensor:
    """Shifted right, zeros coming in."""
    return (bits >> shift) & ((1 << (64 - shift)) - 1)
