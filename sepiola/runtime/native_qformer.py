"""A Q-Former in the native core's form, and what calls the core in its stead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sepiola.models.bridges.qformer import QFormer, QFormerLayer, require_instructions
from sepiola.models.multimodal.prefix import TokenBridge
from sepiola.runtime.native_part import numbers
from sepiola.runtime.native_weights import Named, feed_forward_tensors, linear_tensors, norm_tensors

if TYPE_CHECKING:
    from sepiola_edge._native import Model as Core


class CoreQFormer:
    """The queries under a language model; what compares images and texts (BLIP-2's first stage) is left out."""

    def __init__(self, bridge: nn.Module) -> None:
        assert isinstance(bridge, QFormer)
        self.bridge = bridge

    @property
    def unsupported(self) -> str | None:
        spec = self.bridge.spec
        lacks = {
            "has mixtures of experts (bridge.feed_forward.experts)": spec.feed_forward.experts is not None,
            "normalises heads (bridge.attention.qk_norm)": spec.attention.qk_norm,
            "stands alone, without a language model": self.bridge.projection is None,
        }
        return next((what for what, lacking in lacks.items() if lacking), None)

    def spec(self) -> dict[str, object]:
        spec = self.bridge.spec
        attention = spec.attention.spelled_out(spec.width)
        read = self.bridge.instructed
        text = {} if read is None else {"vocabulary": read.vocabulary, "length": read.length}
        return {
            "kind": "q-former",
            "width": spec.width,
            "image_width": self.bridge.image_width,
            "queries": spec.queries,
            "layers": spec.layers,
            "heads": attention.heads,
            "kv_heads": attention.kv_heads,
            "head_width": attention.head_width,
            "scale": attention.scale,
            "inner": spec.feed_forward.width,
            "gated": spec.feed_forward.gated,
            "activation": spec.feed_forward.activation,
            "eps": spec.norm.eps,
            "centred": spec.norm.kind == "layer",
            "instructed": read is not None,
            **text,
        }

    def tensors(self) -> Iterator[Named]:
        bridge = self.bridge
        assert bridge.projection is not None
        yield "bridge.queries", bridge.queries.flatten(), None
        yield from norm_tensors("bridge.norm", bridge.norm)
        yield from linear_tensors("bridge.projection", bridge.projection)
        if bridge.instructed is not None:
            assert bridge.text is not None
            yield "bridge.words", bridge.text.tokens.weight, bridge.text.tokens
            yield "bridge.positions", bridge.text.positions.weight, None
        for number, layer in enumerate(bridge.layers):
            assert isinstance(layer, QFormerLayer)
            yield from self._layer(f"bridge.{number}.", layer)

    def _layer(self, at: str, layer: QFormerLayer) -> Iterator[Named]:
        yield from linear_tensors(f"{at}qkv", layer.attention.qkv)
        yield from linear_tensors(f"{at}out", layer.attention.out)
        yield from norm_tensors(f"{at}attention_norm", layer.attention_norm)
        if layer.cross is not None and layer.cross_norm is not None:
            yield from linear_tensors(f"{at}cross_q", layer.cross.q)
            yield from linear_tensors(f"{at}cross_kv", layer.cross.kv)
            yield from linear_tensors(f"{at}cross_out", layer.cross.out)
            yield from norm_tensors(f"{at}cross_norm", layer.cross_norm)
        yield from feed_forward_tensors(f"{at}query_", layer.query_feed_forward)
        yield from norm_tensors(f"{at}query_feed_forward_norm", layer.query_feed_forward_norm)
        if self.bridge.instructed is not None:
            assert layer.feed_forward is not None and layer.feed_forward_norm is not None
            yield from feed_forward_tensors(at, layer.feed_forward)
            yield from norm_tensors(f"{at}feed_forward_norm", layer.feed_forward_norm)

    def native(self, core: Core) -> nn.Module:
        return NativeQFormer(core, self.bridge)


class NativeQFormer(TokenBridge):
    """A Q-Former by the core."""

    def __init__(self, core: Core, bridge: QFormer) -> None:
        super().__init__()
        self.core = core
        self.tokens, self.instructed, self.first = bridge.tokens, bridge.instructed, bridge.first

    def forward(self, features: Tensor, instructions: Tensor | None = None) -> Tensor:
        """As the Q-Former's."""
        if self.instructed is None:
            return torch.from_numpy(self.core.vectors(numbers(features)))
        read = require_instructions(features, instructions)
        real = read != self.instructed.pad
        places = real.nonzero()[:, 0].to(torch.int32).numpy()
        words = read[real].to(torch.int32).numpy()
        return torch.from_numpy(self.core.vectors(numbers(features), words, places))
