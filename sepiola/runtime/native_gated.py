"""Gated cross-attention in the native core's form (Flamingo), and what calls the core in its stead.

The core holds the gated layers with the decoder's own: rows are shown their pictures, and each token sees the last one
whose placeholder stands before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sepiola.errors import SepiolaError
from sepiola.models.bridges.gated import GatedCross, GatedLayer, Media
from sepiola.models.bridges.resampler import ResamplerLayer
from sepiola.nn.feedforward import FeedForward
from sepiola.runtime.native_part import numbers
from sepiola.runtime.native_weights import Named, feed_forward_tensors, linear_tensors, norm_tensors
from sepiola.specs.bricks import AttentionSpec

if TYPE_CHECKING:
    from sepiola_edge._native import Model as Core
    from sepiola_edge._native import Picture


class CoreGatedCross:
    """The resampler, and the gated layers, each with its gates in the matrices that they scale.

    Raises SepiolaError for biases of their attention, which a token without a picture has not.
    """

    unsupported: str | None = None

    def __init__(self, bridge: nn.Module) -> None:
        assert isinstance(bridge, GatedCross)
        self.bridge = bridge
        self.gated = {int(n): layer for n, layer in bridge.layers.items() if isinstance(layer, GatedLayer)}
        if any(layer.attention.out.bias is not None for layer in self.gated.values()):
            raise SepiolaError(
                "the native core does not run gated cross-attention with biases (bridge.attention.bias); use "
                "runtime='torch'"
            )

    def spec(self) -> dict[str, object]:
        bridge, spec = self.bridge, self.bridge.spec
        resampler, width = spec.resampler, self.bridge.resampler.width
        layer = next(iter(self.gated.values()))
        return {
            "kind": "gated-cross",
            "image_width": bridge.image_width,
            "width": width,
            "context_width": spec.context_width or width,
            "before": list(self.gated),
            "token": -1 if spec.token is None else spec.token,
            **_attention(spec.attention, layer.attention.q.in_features),
            "inner": layer.feed_forward.up.out_features,
            "activation": spec.activation,
            "resampler": {
                "latents": resampler.latents,
                "depth": resampler.depth,
                "frames": resampler.frames,
                **_attention(resampler.attention, width),
                "inner": resampler.expansion * width,
                "gated": False,
                "activation": resampler.activation,
            },
        }

    def tensors(self) -> Iterator[Named]:
        bridge, resampler = self.bridge, self.bridge.resampler
        yield "bridge.latents", resampler.latents.flatten(), None
        if resampler.times is not None:
            yield "bridge.times", resampler.times.flatten(), None
        for name, module in (("into", resampler.into), ("context", bridge.context)):
            if isinstance(module, nn.Linear):
                yield from linear_tensors(f"bridge.{name}", module)
        yield from norm_tensors("bridge.norm", resampler.norm)
        for number, layer in enumerate(resampler.layers):
            assert isinstance(layer, ResamplerLayer)
            at = f"bridge.resampler.{number}."
            for name in ("features_norm", "latents_norm", "feed_forward_norm"):
                yield from norm_tensors(f"{at}{name}", getattr(layer, name))
            for name in ("q", "kv", "out"):
                yield from linear_tensors(f"{at}{name}", getattr(layer.attention, name))
            yield from feed_forward_tensors(at, layer.feed_forward)
        for number, gated in enumerate(self.gated.values()):
            yield from self._layer(f"bridge.layers.{number}.", gated)

    def _layer(self, at: str, layer: GatedLayer) -> Iterator[Named]:
        attention, network = layer.attention, layer.feed_forward
        assert isinstance(network, FeedForward)
        yield from norm_tensors(f"{at}cross_norm", layer.attention_norm)
        yield from linear_tensors(f"{at}cross_q", attention.q)
        yield from linear_tensors(f"{at}cross_kv", attention.kv)
        yield f"{at}cross_out", layer.attention_gate.tanh() * attention.out.weight, attention.out
        yield from norm_tensors(f"{at}feed_forward_norm", layer.feed_forward_norm)
        yield from linear_tensors(f"{at}up", network.up)
        yield f"{at}down", layer.feed_forward_gate.tanh() * network.down.weight, network.down

    def native(self, core: Core) -> nn.Module:
        return NativeGatedCross(core, self.bridge)


def _attention(spec: AttentionSpec, width: int) -> dict[str, object]:
    spec = spec.spelled_out(width)
    return {"heads": spec.heads, "kv_heads": spec.kv_heads, "head_width": spec.head_width, "scale": spec.scale}


class NativeMedia(Media):
    """A batch's pictures, as the core holds them, in the order of their rows."""

    def __init__(self, pictures: list[Picture], count: Tensor) -> None:
        super().__init__({}, torch.zeros(len(count), 0), count, torch.zeros_like(count))
        self.pictures = pictures
        self.rows: list[int] = torch.arange(len(count)).repeat_interleave(count).tolist()


class NativeLayers(dict[int, Callable[[Tensor], Tensor]]):
    """No layers between the language model's own: the core has them, and is shown the pictures that they see."""

    def __init__(self, media: NativeMedia | None) -> None:
        super().__init__()
        self.media = media


class NativeGatedCross(nn.Module):
    """The gated layers by the core."""

    def __init__(self, core: Core, bridge: GatedCross) -> None:
        super().__init__()
        self.core = core
        self.tokens, self.image_width = bridge.tokens, bridge.image_width

    def media(self, features: Tensor, count: Tensor) -> NativeMedia:
        """As `GatedCross.media`."""
        frames = features.shape[1] if features.dim() == 4 else 1
        flat = features.flatten(1, 2) if features.dim() == 4 else features
        return NativeMedia(self.core.look(numbers(flat), frames), count)

    def between(self, media: NativeMedia | None, current: Tensor) -> NativeLayers:
        """As `GatedCross.between`; which picture a token sees the core knows by the placeholders."""
        return NativeLayers(media)
