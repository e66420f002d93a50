"""A model in its running form on a CPU in bfloat16: each matrix laid out once in the order in which products read it.

Eager PyTorch lays a weight out anew at every product; a decoder that writes token by token pays that for all of its
weights at every token. Beside the products a token is so little work that calling operations takes longer than they do:
the layers that most decoders have (LLaMA's) take a token through in fewer calls.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sepiola.models.layers import ALL, AttentionInputs, PreNormLayer
from sepiola.models.transformer import Stack
from sepiola.models.vision.tiles import TOGETHER
from sepiola.models.vocabulary import Head
from sepiola.nn.attention import CrossAttention, SelfAttention
from sepiola.nn.feedforward import FeedForward, GatedFeedForward, gated
from sepiola.nn.norms import RMSNorm
from sepiola.runtime.prepacked_vit import PrepackedLinear, prepackable
from sepiola.runtime.prepacked_vit import prepack as prepack_vit

_HOLDERS = (SelfAttention, CrossAttention, FeedForward, GatedFeedForward, Head)


def prepack(model: nn.Module) -> None:
    """Packs the eye and the language model of a model in place; one that is not in bfloat16 on a CPU stays as it is.

    The matrices are held once, packed: the model computes as before, and can be neither trained nor saved.
    """
    weight = next(model.parameters())
    if weight.dtype != torch.bfloat16 or weight.device.type != "cpu" or not prepackable():
        return
    parts: Any = model
    if getattr(model, "vision", None) is not None:
        parts.vision = prepack_vit(parts.vision, batch=TOGETHER, release=True)
    prepack_language(getattr(model, "language", model))


def prepack_language(language: nn.Module) -> None:
    """Packs a language model in place, whatever its dtype: in float32 it computes the same, and gains nothing."""
    for holder in language.modules():
        if isinstance(holder, _HOLDERS):
            for name, child in list(holder.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(holder, name, PrepackedLinear(child, rows=1))
    for stack in [m for m in language.modules() if isinstance(m, Stack)]:
        stack.layers = nn.ModuleList(PrepackedLayer(layer) if _plain(layer) else layer for layer in stack.layers)


def _plain(layer: nn.Module) -> bool:
    """Whether it is LLaMA's layer: norms by the root mean square, rotary heads, gated feed-forward."""
    return (
        type(layer) is PreNormLayer
        and type(layer.attention_norm) is type(layer.feed_forward_norm) is RMSNorm
        and type(layer.feed_forward) is GatedFeedForward
        and layer.attention.rotary is not None
        and isinstance(layer.attention.q_norm, nn.Identity)
        and layer.cross is None
    )


class PrepackedLayer(nn.Module):
    """A layer over packed matrices; a single token a row goes through it in fewer calls, to the same end."""

    def __init__(self, layer: PreNormLayer) -> None:
        super().__init__()
        self.layer = layer
        self._step = _Step(layer)

    @property
    def attention(self) -> SelfAttention:
        """The layer's own."""
        return self.layer.attention

    def forward(self, x: Tensor, inputs: AttentionInputs = ALL) -> Tensor:
        return self._step(x, inputs) if x.shape[1] == 1 else self.layer(x, inputs)


class _Step:
    """One token a row through a layer: queries and keys turn as one, sums lie in the products."""

    def __init__(self, layer: PreNormLayer) -> None:
        attention, ff = layer.attention, layer.feed_forward
        self.qkv: Any = attention.qkv
        self.out: Any = attention.out
        self.gate_up: Any = ff.gate_up
        self.down: Any = ff.down
        self.norms: Any = (layer.attention_norm, layer.feed_forward_norm)
        self.activation: Any = ff.activation
        self.rotary: Any = attention.rotary
        self.attend = attention.attend
        self.shape = (attention.heads + 2 * attention.kv_heads, attention.head_width)
        self.heads, self.turned = attention.heads, attention.heads + attention.kv_heads

    def __call__(self, x: Tensor, inputs: AttentionInputs) -> Tensor:
        first, second = self.norms
        heads = self.qkv.forward(first.forward(x)).view(len(x), *self.shape, 1).transpose(2, 3)
        turned = self.rotary.forward(heads[:, : self.turned], inputs.angles)
        q, k, v = turned[:, : self.heads], turned[:, self.heads :], heads[:, self.turned :]
        x = self.out.add(self.attend(q, k, v, inputs.bias, inputs.cache), x)
        inner = gated(self.gate_up.forward(second.forward(x)), self.activation)
        return self.down.add(inner, x)
