"""Language modelling: predict each target token from those before it and from what was read (teacher
forcing).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sepiola.data.batching import Batch
from sepiola.nn.loss import linear_cross_entropy
from sepiola.training.objectives.experts import routed, routing_loss
from sepiola.training.objectives.loss import Loss


def language_modelling(model: Any, batch: Batch) -> Loss:
    """The loss of a batch under an encoder-decoder, a decoder or a model that sees.

    Beside it stand the z-loss and the losses of experts, where the model's spec asks for them.
    """
    with routed(model) as router_logits:
        states = target_states(model, batch)
    states, matrix = model.head.operands(states)
    loss, z_loss = linear_cross_entropy(states, matrix, batch.labels, z_loss=model.spec.head.z_loss)
    routing = routing_loss(router_logits, batch, model.spec.feed_forward)
    return Loss(loss - z_loss, batch.labelled, extra=z_loss + batch.labelled * routing)


def target_states(model: Any, batch: Batch) -> Tensor:
    """The model's final states `(batch, target tokens, width)`, the head not yet applied."""
    images = {"images": batch.images, "image_mask": batch.image_mask}
    images |= {"image_sizes": batch.image_sizes, "instructions": batch.instructions}
    images = {name: value for name, value in images.items() if value is not None}
    if batch.source is None:
        return model.states(batch.target, attention_mask=batch.target_mask, **images)
    return model.states(
        batch.source, batch.target, attention_mask=batch.source_mask, target_mask=batch.target_mask, **images
    )
