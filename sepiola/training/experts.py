"""What keeps a mixture of experts in use: losses on what its routers say, beside the loss of the predictions.

The load-balancing loss (Switch Transformer, arXiv 2101.03961) draws tokens to all experts alike; the router z-loss
(ST-MoE, arXiv 2202.08906) keeps the routers' logits small.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sepiola.data.batching import Batch
from sepiola.models.states import repeated
from sepiola.nn.feedforward import MixtureOfExperts
from sepiola.specs.bricks import FeedForwardSpec

RouterLogits = dict[str, list[Tensor]]


@contextmanager
def routed(model: Any) -> Iterator[RouterLogits]:
    """Collects, while it lasts, the logits `(batch * tokens, experts)` of the routers that train, layer by layer.

    Those of `encoder` and `decoder` stand apart, for their tokens differ. There are none where the spec weighs no loss
    of theirs; and afterwards the model holds none.
    """
    language, spec = getattr(model, "language", model), model.spec.feed_forward
    weighed = spec.balance_loss > 0 or spec.router_z_loss > 0
    collected: RouterLogits = {"encoder": [], "decoder": []}
    hooks = [
        module.router.register_forward_hook(lambda _, inputs, logits, into=into: into.append(logits))
        for stack, into in collected.items()
        for module in getattr(language, stack, nn.Module()).modules()
        if weighed and isinstance(module, MixtureOfExperts) and module.training
    ]
    try:
        yield collected
    finally:
        for hook in hooks:
            hook.remove()


def routing_loss(collected: RouterLogits, batch: Batch, spec: FeedForwardSpec) -> Tensor | float:
    """Both losses by the spec's weights, 0 where nothing was collected; the padding of `batch` does not count, nor that
    of its rows where a layer has read them several times.

    The layers of a stack are taken together, as `transformers` does for Mixtral, and the loss of an encoder is added
    to that of its decoder. A load is balanced within one batch, for the loss is a product of two means over it: batches
    that a step accumulates are each balanced, and the sum is not quite the loss of one large batch.
    """
    total: Tensor | float = 0.0
    for stack, layers in collected.items():
        if layers:
            mask = batch.source_mask if stack == "encoder" else batch.real
            logits = torch.cat([x if mask is None else x[_real(mask, len(x))] for x in layers])
            total = total + spec.balance_loss * balance_loss(logits, spec.chosen)
            total = total + spec.router_z_loss * router_z_loss(logits)
    return total


def _real(mask: Tensor, rows: int) -> Tensor:
    """The rows that are no padding: their numbers, which a dry run can count."""
    return (repeated(mask.flatten(), rows) > 0).nonzero()[:, 0]


def balance_loss(logits: Tensor, chosen: int) -> Tensor:
    """Experts × the sum over them of (the share of tokens it is sent × its mean probability); at best `chosen`.

    `logits` `(tokens, experts)`; a token is sent to the `chosen` most probable experts.
    """
    probabilities = logits.softmax(-1, dtype=torch.float32)
    sent = probabilities.topk(chosen, dim=-1).indices.flatten().bincount(minlength=logits.shape[-1])
    return logits.shape[-1] * (sent / len(logits) * probabilities.mean(0)).sum()


def router_z_loss(logits: Tensor) -> Tensor:
    """The mean over tokens of log²Z, Z the sum of a token's exponentials; `logits` `(tokens, experts)`."""
    return logits.float().logsumexp(-1).square().mean()
