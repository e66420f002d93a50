"""The states of a batch, as losses of text and scores of replies begin with them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sepiola.data.batching import Batch


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
