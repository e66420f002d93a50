"""Language modelling: predict each target token from those before it and from what was read (teacher
forcing).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sepiola.data.batching import Batch
from sepiola.nn.loss import linear_cross_entropy
from sepiola.training.objectives.outcome import Outcome


def language_modelling(model: nn.Module, batch: Batch) -> Outcome:
    """The loss of a batch under an encoder-decoder, a decoder or a model that sees."""
    states = target_states(model, batch)
    head: Any = model.head
    states, matrix = head.operands(states)
    loss = linear_cross_entropy(states, matrix, batch.labels)
    return Outcome(loss, batch.labelled)


def target_states(model: Any, batch: Batch) -> Tensor:
    """The model's final states `(batch, target tokens, width)`, the head not yet applied."""
    if batch.source is None:
        return model.states(batch.target, attention_mask=batch.target_mask)
    images = {} if batch.images is None else {"images": batch.images, "image_mask": batch.image_mask}
    return model.states(
        batch.source, batch.target, attention_mask=batch.source_mask, target_mask=batch.target_mask, **images
    )
