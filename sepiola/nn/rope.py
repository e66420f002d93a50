"""The angles of rotary positions (RoPE, arXiv 2104.09864), as they are and stretched over longer texts.

Two ways depend on how long the text is (dynamic NTK, LongRoPE). Each row of a batch goes by its own length, so that its
neighbours change nothing. In decoding it is the length so far: what lies in a cache keeps the angles it was read with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sepiola.specs.rope import DynamicScaling, LinearScaling, Llama3Scaling, LongRopeScaling, RopeScaling, YarnScaling


class Frequencies(nn.Module):
    """How far each pair of a head's numbers turns from one position to the next, the same in every text.

    `amplitude` multiplies what is turned. The table is no buffer: a model cast to bfloat16 keeps it in float32.
    """

    def __init__(self, table: Tensor, amplitude: float = 1.0) -> None:
        super().__init__()
        self.table = table
        self.amplitude = amplitude

    def forward(self, positions: Tensor, ahead: int | Tensor) -> Tensor:
        """Angles a position `(pairs,)` or `(batch, 1, 1, pairs)`, for positions `(batch, tokens)`; `ahead` tokens of
        each row are known to follow.
        """
        if self.table.device != positions.device:
            self.table = self.table.to(positions.device)
        return self.table


class ByLength(Frequencies):
    """One table up to `border` tokens, another in longer texts."""

    def __init__(self, short: Tensor, long: Tensor, border: int, amplitude: float) -> None:
        super().__init__(torch.stack((short, long)), amplitude)
        self.border = border

    def forward(self, positions: Tensor, ahead: int | Tensor) -> Tensor:
        short, long = super().forward(positions, ahead)
        return torch.where(_lengths(positions, ahead) > self.border, long, short)


class Growing(Frequencies):
    """The base grows with the text beyond `length` tokens."""

    def __init__(self, head_width: int, base: float, factor: float, length: int) -> None:
        super().__init__(_exponents(head_width))
        self.base, self.factor, self.length = base, factor, length
        self.power = head_width / (head_width - 2)

    def forward(self, positions: Tensor, ahead: int | Tensor) -> Tensor:
        exponents = super().forward(positions, ahead)
        lengths = _lengths(positions, ahead).clamp(min=self.length)
        base = self.base * (self.factor * lengths / self.length - (self.factor - 1)) ** self.power
        return 1.0 / base**exponents


def frequencies(head_width: int, base: float, scaling: RopeScaling | None, length: int | None) -> Frequencies:
    """The frequencies of heads `head_width` wide; `length` is how many positions the model has."""
    if scaling is None:
        return Frequencies(_plain(head_width, base))
    return SCALINGS[scaling.kind](head_width, base, scaling, length)


def _linear(head_width: int, base: float, scaling: LinearScaling, length: int | None) -> Frequencies:
    return Frequencies(_plain(head_width, base) / scaling.factor)


def _dynamic(head_width: int, base: float, scaling: DynamicScaling, length: int | None) -> Frequencies:
    assert length is not None
    return Growing(head_width, base, scaling.factor, length)


def _yarn(head_width: int, base: float, scaling: YarnScaling, length: int | None) -> Frequencies:
    def pair(turns: float) -> float:
        """The pair, counted in fractions, that turns so often within the original length."""
        return head_width * math.log(scaling.original_length / (turns * 2 * math.pi)) / (2 * math.log(base))

    first, last = pair(scaling.beta_fast), pair(scaling.beta_slow)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, head_width - 1)
    steps = torch.arange(head_width // 2, dtype=torch.float32, device="cpu")
    slow = ((steps - first) / (last - first or 0.001)).clamp(0, 1)
    plain = _plain(head_width, base)
    amplitude = scaling.attention_factor
    if amplitude is None and scaling.mscale and scaling.mscale_all_dim:
        amplitude = _mscale(scaling.factor, scaling.mscale) / _mscale(scaling.factor, scaling.mscale_all_dim)
    return Frequencies(plain / scaling.factor * slow + plain * (1 - slow), amplitude or _mscale(scaling.factor, 1.0))


def _mscale(factor: float, weight: float) -> float:
    return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0


def _llama3(head_width: int, base: float, scaling: Llama3Scaling, length: int | None) -> Frequencies:
    plain = _plain(head_width, base)
    turns = scaling.original_length * plain / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    fast = ((turns - low) / (high - low)).clamp(0, 1)
    return Frequencies(plain / scaling.factor * (1 - fast) + plain * fast)


def _longrope(head_width: int, base: float, scaling: LongRopeScaling, length: int | None) -> Frequencies:
    plain = _plain(head_width, base)
    short, long = (
        plain / torch.tensor(factors, device="cpu") for factors in (scaling.short_factor, scaling.long_factor)
    )
    amplitude = scaling.attention_factor
    if amplitude is None:
        grown = math.log(scaling.factor) / math.log(scaling.original_length) if scaling.factor > 1 else 0.0
        amplitude = math.sqrt(1 + grown)
    return ByLength(short, long, scaling.original_length, amplitude)


SCALINGS: dict[str, Callable[[int, float, Any, int | None], Frequencies]] = {
    "linear": _linear,
    "dynamic": _dynamic,
    "yarn": _yarn,
    "llama3": _llama3,
    "longrope": _longrope,
}


def _exponents(head_width: int) -> Tensor:
    return torch.arange(0, head_width, 2, dtype=torch.float32, device="cpu") / head_width


def _plain(head_width: int, base: float) -> Tensor:
    return 1.0 / base ** _exponents(head_width)


def _lengths(positions: Tensor, ahead: int | Tensor) -> Tensor:
    """How many tokens each row has, `(batch, 1, 1, 1)`, those that follow included."""
    return positions.amax(-1)[:, None, None, None] + (1 + ahead)
