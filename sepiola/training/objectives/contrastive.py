"""Contrastive learning: of all pictures and texts of a batch, which go together?

A softmax over the batch in both directions (InfoNCE as in CLIP, arXiv 2103.00020), or a sigmoid of every picture with
every text (SigLIP, 2303.15343), as the model's bridge says. The temperature learns, and so does the sigmoid's bias.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from sepiola.data.batching import Batch
from sepiola.data.pairs import PairBatch
from sepiola.training.objectives.loss import Loss


def contrastive(model: Any, batch: Batch) -> Loss:
    """The loss summed over the batch's pairs (nats).

    A pair's negatives are the other pairs of its own batch, less those with the same text or the same picture; batches
    that a step accumulates do not see each other.
    """
    assert isinstance(batch, PairBatch)
    logits = model(batch.target, images=batch.images, attention_mask=batch.target_mask)
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    neither = batch.together & ~own
    if model.bridge.spec.loss == "sigmoid":
        losses = F.softplus(torch.where(own, -logits, logits))
        return Loss(losses.masked_fill(neither, 0.0).sum(), batch.labelled)
    logits = logits.masked_fill(neither, -torch.inf)
    places = torch.arange(len(logits), device=logits.device)
    found = [F.cross_entropy(each, places, reduction="sum") for each in (logits, logits.t())]
    return Loss((found[0] + found[1]) / 2, batch.labelled)
