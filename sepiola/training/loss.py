"""What every objective returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """A loss summed over `tokens` predictions (nats, float32 scalar).

    `extra` is what training minimises beside it (balance of experts, z-loss), summed alike; it is not reported, so
    that losses of models with and without it compare. `parts` are what the loss is the sum of, reported by their names.
    """

    loss_sum: Tensor
    tokens: int
    extra: Tensor | None = None
    parts: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """What training minimises."""
        return self.loss_sum if self.extra is None else self.loss_sum + self.extra
