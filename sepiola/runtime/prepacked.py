"""A model in its running form on a CPU in bfloat16: each matrix laid out once in the order in which products read it.

Eager PyTorch lays a weight out anew at every product; a decoder that writes token by token pays that for all of its
weights at every token. Beside the products a token is so little work that calling operations takes longer than they do:
the layers that most decoders have (LLaMA's) take a token through in fewer calls.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from sepiola.models.layers import ALL, AttentionInputs, PreNormLayer
from sepiola.models.multimodal.vision_language import VisionLanguageModel
from sepiola.models.transformer import EncoderDecoder, LanguageModel, Stack
from sepiola.models.vision.tiles import TOGETHER
from sepiola.models.vocabulary import Head, rows_product
from sepiola.nn.attention import CrossAttention, SelfAttention
from sepiola.nn.feedforward import FeedForward, GatedFeedForward, gated
from sepiola.nn.norms import RMSNorm
from sepiola.runtime.plain import TorchDecoding, TorchExecutor
from sepiola.runtime.prepacked_vit import PrepackedLinear, prepackable
from sepiola.runtime.prepacked_vit import prepack as prepack_vit

STEP = 32
"""Lengths of an encoder's texts are multiples of it: oneDNN compiles kernels for each length, and keeps them all."""
_HOLDERS = (SelfAttention, CrossAttention, FeedForward, GatedFeedForward)


class PrepackedExecutor(TorchExecutor):
    """Runs packed copies of the network's matrices, which stays whole: it trains and saves as before.

    What it learns later is not seen. With `release` the network gives its matrices up as they are packed, so that they
    are held once, and is of no use of its own. Without bfloat16 products of this CPU the network itself runs.
    """

    def __init__(self, network: nn.Module, *, release: bool = False, bits: int | None = None) -> None:
        super().__init__(prepack(network, release=release), bits=bits)

    def begin(self, tokens: Tensor, capacity: int, *, attention_mask: Tensor | None, **images: Tensor) -> TorchDecoding:
        """As every executor; what an encoder reads is padded to few lengths."""
        if self.spec.kind == "encoder-decoder" and self.dtype == torch.bfloat16 and (extra := -tokens.shape[1] % STEP):
            real = torch.ones_like(tokens) if attention_mask is None else attention_mask
            tokens, attention_mask = nn.functional.pad(tokens, (0, extra)), nn.functional.pad(real, (0, extra))
        return super().begin(tokens, capacity, attention_mask=attention_mask, **images)


def prepack(network: nn.Module, *, release: bool = False) -> nn.Module:
    """The network with packed matrices in the vision encoder and the language model; all else is shared with it.

    One that is not in bfloat16 on a CPU is returned as it is. With `release` the network itself is packed, in place.
    """
    weight = next(network.parameters())
    if weight.dtype != torch.bfloat16 or weight.device.type != "cpu" or not prepackable():
        return network
    packed = network if release else _sharing_weights(network)
    if isinstance(packed, VisionLanguageModel):
        if packed.vision is not None:
            packed.vision = prepack_vit(packed.vision, batch=TOGETHER, release=True)
        prepack_language(packed.parts()["language"])
    else:
        prepack_language(packed)
    return packed


def _sharing_weights(network: nn.Module) -> nn.Module:
    """Modules of their own around the same tensors."""
    tensors = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})


def prepack_language(language: nn.Module) -> None:
    """Packs a language model in place, whatever its dtype: in float32 it computes the same, and gains nothing.

    A tied head is packed too; the embedding is still there for the tokens to be looked up.
    """
    for holder in language.modules():
        if isinstance(holder, _HOLDERS):
            for name, child in list(holder.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(holder, name, PrepackedLinear.of(child, rows=1))
    if isinstance(language, LanguageModel | EncoderDecoder) and isinstance(language.head, Head):
        language.head = PrepackedHead(language.head)
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


class PrepackedHead(nn.Module):
    """A head over its packed matrix, whether the embedding's or one of its own, which it then gives up."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.transform, self.scale = head.transform, head.scale
        # The embedding's own matrix stays, and has rows to choose from; in a tuple: it belongs to the model.
        self._tied = (head.weight, head.bias) if head.projection is None else None
        self.product = PrepackedLinear(head.weight, head.bias, rows=1)

    def forward(self, states: Tensor, tokens: Tensor | None = None) -> Tensor:
        states = self.transform(states)
        states = states if self.scale is None else states * self.scale
        if tokens is not None and self._tied is not None:
            weight, bias = self._tied
            return rows_product(states, weight, bias, tokens)
        logits: Tensor = self.product(states)
        return logits if tokens is None else logits[..., tokens]  # a packed matrix has no rows to choose from


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
        assert isinstance(ff, GatedFeedForward) and attention.rotary is not None
        self.qkv, self.out = _packed(attention.qkv), _packed(attention.out)
        self.gate_up, self.down = _packed(ff.gate_up), _packed(ff.down)
        self.norms = layer.attention_norm, layer.feed_forward_norm
        self.activation = ff.activation
        self.rotary = attention.rotary
        self.attend = attention.attend
        self.shape = (attention.heads + 2 * attention.kv_heads, attention.head_width)
        self.heads, self.turned = attention.heads, attention.heads + attention.kv_heads

    def __call__(self, x: Tensor, inputs: AttentionInputs) -> Tensor:
        assert inputs.angles is not None
        first, second = self.norms
        heads = self.qkv.forward(first.forward(x)).view(len(x), *self.shape, 1).transpose(2, 3)
        turned = self.rotary.forward(heads[:, : self.turned], inputs.angles)
        q, k, v = turned[:, : self.heads], turned[:, self.heads :], heads[:, self.turned :]
        x = self.out.add(self.attend(q, k, v, inputs.bias, inputs.cache), x)
        inner = gated(self.gate_up.forward(second.forward(x)), self.activation)
        return self.down.add(inner, x)


def _packed(module: nn.Module) -> PrepackedLinear:
    assert isinstance(module, PrepackedLinear)
    return module
