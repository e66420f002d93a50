"""What every objective returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Outcome:
    """A loss summed over `tokens` predictions (nats, float32 scalar)."""

    loss_sum: Tensor
    tokens: int
