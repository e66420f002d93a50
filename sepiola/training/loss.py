"""What every objective returns, and the states that losses of text begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from sepiola.data.batching import Batch


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


def target_states(model: Any, batch: Batch) -> Tensor:
    """The model's final states `(batch, target tokens, width)`, the head not yet applied."""
    inputs = {"images": batch.images, "image_mask": batch.image_mask}
    inputs |= {"image_sizes": batch.image_sizes, "instructions": batch.instructions}
    images = {name: value for name, value in inputs.items() if value is not None}
    if batch.source is None:
        return model.states(batch.target, attention_mask=batch.target_mask, **images)
    return model.states(
        batch.source, batch.target, attention_mask=batch.source_mask, target_mask=batch.target_mask, **images
    )
