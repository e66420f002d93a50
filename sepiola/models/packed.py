"""A model in its running form on a CPU in bfloat16: each matrix laid out once in the order in which products read it.

Eager PyTorch lays a weight out anew at every product; a decoder that writes token by token pays that for all of its
weights at every token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sepiola.models.vision.prepack import PackedLinear, prepack, prepackable
from sepiola.models.vision.tiles import TOGETHER
from sepiola.models.vocabulary import Head
from sepiola.nn.attention import CrossAttention, SelfAttention
from sepiola.nn.feedforward import FeedForward, GatedFeedForward

_HOLDERS = (SelfAttention, CrossAttention, FeedForward, GatedFeedForward, Head)


def pack(model: nn.Module) -> None:
    """Packs the eye and the language model of a model in place; one that is not in bfloat16 on a CPU stays as it is.

    The matrices are held once, packed: the model computes as before, and can be neither trained nor saved.
    """
    weight = next(model.parameters())
    if weight.dtype != torch.bfloat16 or weight.device.type != "cpu" or not prepackable():
        return
    parts: Any = model
    if getattr(model, "vision", None) is not None:
        parts.vision = prepack(parts.vision, batch=TOGETHER, release=True)
    for holder in getattr(model, "language", model).modules():
        if isinstance(holder, _HOLDERS):
            for name, child in list(holder.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(holder, name, PackedLinear(child, rows=1))
