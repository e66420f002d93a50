"""The states of a batch, as losses of text and scores of replies begin with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

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


def vote_states(model: nn.Module, batch: Batch, votes: int) -> Tensor:
    """The final states of so many passes over a batch `(votes, batch, target tokens, width)`, which differ by what
    dropout leaves out. An encoder reads the source once, and the decoder runs `votes` times.
    """
    if votes == 1:
        return target_states(model, batch)[None]
    if batch.source is None:
        return torch.stack([target_states(model, batch) for _ in range(votes)])
    mask = None if batch.target_mask is None else repeated(batch.target_mask, votes * len(batch.target))
    several = replace(batch, target=repeated(batch.target, votes * len(batch.target)), target_mask=mask)
    return target_states(model, several).unflatten(0, (votes, -1))


def repeated(rows: Tensor, count: int) -> Tensor:
    """A tensor `(rows, …)` several times over, to `(count, …)`; as it is where it has so many rows."""
    return rows if len(rows) == count else rows.repeat(count // len(rows), *(1 for _ in rows.shape[1:]))
