"""Gated cross-attention between the layers of a language model (Flamingo, arXiv 2204.14198, appendix A.1).

Before some layers of the decoder the text attends to the image that it speaks of, and passes a feed-forward network of
its own. The tanh of a gate scales both; gates start at zero, so that the model begins as its language model.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from sepiola.models.bridges.resampler import Resampler
from sepiola.models.layers import InsertedLayers, KeysValues
from sepiola.nn.attend import mask_bias
from sepiola.nn.attention import CrossAttention
from sepiola.nn.feedforward import FeedForward
from sepiola.nn.precision import product_dtype
from sepiola.specs.bricks import FeedForwardSpec
from sepiola.specs.bridge import GatedCrossSpec


class Media:
    """A batch's images as the decoder sees them: the keys and values of each gated layer, in the images' order.

    `numbers` `(batch, keys)` say which image of its row each key belongs to, from 1 (0: none); `count` `(batch)` is how
    many images each row has, and `current` `(batch)` the one that comes last in what was read.
    """

    def __init__(self, keys_values: dict[int, KeysValues], numbers: Tensor, count: Tensor, current: Tensor) -> None:
        self.keys_values = keys_values
        self.numbers = numbers
        self.count = count
        self.current = current

    def select(self, rows: Tensor) -> None:
        """Keeps these rows of the batch."""
        self.keys_values = {
            n: (k.index_select(0, rows), v.index_select(0, rows)) for n, (k, v) in self.keys_values.items()
        }
        for name in ("numbers", "count", "current"):
            setattr(self, name, getattr(self, name).index_select(0, rows))


class GatedLayer(nn.Module):
    """Text states `(batch, tokens, width)` to the same, having attended to `context_width` wide media."""

    def __init__(self, spec: GatedCrossSpec, width: int, context_width: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = CrossAttention(width, spec.attention, context_width=context_width)
        self.attention_gate = nn.Parameter(torch.zeros(1))
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(
            width, FeedForwardSpec(width=spec.expansion * width, activation=spec.activation)
        )
        self.feed_forward_gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, keys_values: KeysValues | None, bias: Tensor | None, sees: Tensor | None) -> Tensor:
        """`sees` `(batch, tokens, 1)` is 1 for a token that an image stands before, and 0 for another."""
        if keys_values is not None:
            attended = self.attention(self.attention_norm(x), keys_values, bias) * sees
            x = x + self.attention_gate.tanh() * attended
        return x + self.feed_forward_gate.tanh() * self.feed_forward(self.feed_forward_norm(x))


class GatedCross(nn.Module):
    """The resampler, and the gated layers by the number of the decoder's layer that each stands before."""

    tokens = 1
    """Placeholders that an image takes."""

    def __init__(self, spec: GatedCrossSpec, width: int, layers: int, image_width: int) -> None:
        super().__init__()
        self.spec = spec
        self.image_width = image_width
        self.resampler = Resampler(spec.resampler, image_width)
        latent_width = self.resampler.width
        context_width = spec.context_width or latent_width
        same = context_width == latent_width
        self.context = nn.Identity() if same else nn.Linear(latent_width, context_width, bias=False)
        self.layers = nn.ModuleDict(
            {str(n): GatedLayer(spec, width, context_width) for n in range(spec.first, layers, spec.every)}
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)

    def media(self, features: Tensor, count: Tensor) -> Media:
        """What the decoder sees of the features of all images, `count` `(batch)` of them in each row."""
        latents = self.context(self.resampler(features.to(self.resampler.latents.dtype)))
        place = torch.arange(int(count.max()), device=count.device) < count[:, None]
        rows = latents.new_zeros(*place.shape, *latents.shape[1:])
        rows = rows.masked_scatter(place[..., None, None], latents)
        numbers = (place.cumsum(1) * place).repeat_interleave(latents.shape[1], dim=1)
        keys_values = {int(n): layer.attention.project(rows.flatten(1, 2)) for n, layer in self._gated()}
        return Media(keys_values, numbers, count, torch.zeros_like(count))

    def between(self, media: Media | None, current: Tensor) -> InsertedLayers:
        """The gated layers as the decoder calls them; `current` `(batch, tokens)` is the number of each token's image.

        Text that no image stands before is given none: its attention is exactly zero.
        """
        if media is None:
            return {int(n): partial(layer, keys_values=None, bias=None, sees=None) for n, layer in self._gated()}
        bias = mask_bias(
            current,
            media.numbers,
            causal=None,
            queries=current.shape[1],
            keys=media.numbers.shape[1],
            dtype=product_dtype(next(self.parameters())),
            device=current.device,
        )
        sees = (current > 0)[..., None].to(self.resampler.latents.dtype)
        return {
            int(n): partial(layer, keys_values=media.keys_values[int(n)], bias=bias, sees=sees)
            for n, layer in self._gated()
        }

    def _gated(self) -> list[tuple[str, GatedLayer]]:
        return [(number, layer) for number, layer in self.layers.items() if isinstance(layer, GatedLayer)]
