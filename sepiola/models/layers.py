"""The layers of a Transformer: where its norms stand, and in which order its sublayers are added."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from sepiola.nn.attention import CrossAttention, SelfAttention
from sepiola.nn.banded import Band
from sepiola.nn.cache import KVCache
from sepiola.nn.dropout import Dropout
from sepiola.nn.feedforward import feed_forward
from sepiola.nn.norms import norm
from sepiola.nn.positions import Angles, Distances, Rotary
from sepiola.specs.bricks import AttentionSpec, FeedForwardSpec, NormSpec

KeysValues = tuple[Tensor, Tensor]
InsertedLayers = Mapping[int, Callable[[Tensor], Tensor]]
"""What the states pass through before a layer of that number: a bridge's layers between the language model's own."""
NO_LAYERS: InsertedLayers = MappingProxyType({})


class BatchState(Protocol):
    """What is held for each row of a batch."""

    def select(self, rows: Tensor) -> None: ...


class AttentionInputs(NamedTuple):
    """What a layer's tokens see: by default each other, all of them.

    `bias` is added to the scores, or is the band that is seen; `angles` of their positions are for rotary heads;
    `cache` holds earlier tokens; `context` are the keys and values of another stack, `context_bias` their mask.
    """

    bias: Tensor | Band | None = None
    angles: Angles | None = None
    cache: KVCache | None = None
    context: KeysValues | None = None
    context_bias: Tensor | None = None


ALL = AttentionInputs()


class Layer(nn.Module):
    """Self-attention, cross-attention when there is a context, feed-forward; each a residual step."""

    def __init__(
        self,
        width: int,
        attention: AttentionSpec,
        ff: FeedForwardSpec,
        norm_spec: NormSpec,
        *,
        cross: bool,
        dropout: float = 0.0,
        rotary: Rotary | None = None,
        distances: Distances | None = None,
    ) -> None:
        super().__init__()
        self.attention_norm = norm(width, norm_spec)
        self.attention = SelfAttention(width, attention, dropout, rotary, norm_spec, distances)
        self.cross_norm = norm(width, norm_spec) if cross else None
        self.cross = CrossAttention(width, attention, dropout) if cross else None
        self.feed_forward_norm = norm(width, norm_spec)
        self.feed_forward = feed_forward(width, ff, dropout)
        self.dropout = Dropout(dropout)

    def _attend(self, x: Tensor, inputs: AttentionInputs) -> Tensor:
        return self.attention(x, inputs.bias, inputs.angles, inputs.cache)


class PreNormLayer(Layer):
    """`x + f(norm(x))`."""

    def forward(self, x: Tensor, inputs: AttentionInputs = ALL) -> Tensor:
        x = self.dropout.add(x, self._attend(self.attention_norm(x), inputs))
        if self.cross is not None and self.cross_norm is not None:
            x = self.dropout.add(x, self.cross(self.cross_norm(x), inputs.context, inputs.context_bias))
        return self.dropout.add(x, self.feed_forward(self.feed_forward_norm(x)))


class PostNormLayer(Layer):
    """`norm(x + f(x))`."""

    def forward(self, x: Tensor, inputs: AttentionInputs = ALL) -> Tensor:
        x = self.attention_norm(self.dropout.add(x, self._attend(x, inputs)))
        if self.cross is not None and self.cross_norm is not None:
            x = self.cross_norm(self.dropout.add(x, self.cross(x, inputs.context, inputs.context_bias)))
        return self.feed_forward_norm(self.dropout.add(x, self.feed_forward(x)))


class ParallelLayer(Layer):
    """`x + attention(norm(x)) + ff(norm(x))`: both read the same norm (PaLM, arXiv 2204.02311)."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        del self.feed_forward_norm

    def forward(self, x: Tensor, inputs: AttentionInputs = ALL) -> Tensor:
        read = self.attention_norm(x)
        return self.dropout.add(self.dropout.add(x, self._attend(read, inputs)), self.feed_forward(read))


class SandwichLayer(Layer):
    """`x + norm(f(norm(x)))` (Gemma 3)."""

    def __init__(self, width: int, attention: AttentionSpec, ff: FeedForwardSpec, norm_spec: NormSpec, **more: Any):
        super().__init__(width, attention, ff, norm_spec, **more)
        self.attention_close = norm(width, norm_spec)
        self.feed_forward_close = norm(width, norm_spec)

    def forward(self, x: Tensor, inputs: AttentionInputs = ALL) -> Tensor:
        attended = self._attend(self.attention_norm(x), inputs)
        x = self.dropout.add(x, self.attention_close(attended))
        return self.dropout.add(x, self.feed_forward_close(self.feed_forward(self.feed_forward_norm(x))))


LAYERS: dict[str, type[Layer]] = {
    "pre": PreNormLayer,
    "post": PostNormLayer,
    "parallel": ParallelLayer,
    "sandwich": SandwichLayer,
}
