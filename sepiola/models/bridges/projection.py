"""Image patches as tokens of the language model: MiniGPT-4's linear layer, LLaVA's MLP, SmolVLM's pixel shuffle."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from sepiola.errors import SpecError
from sepiola.nn.feedforward import ACTIVATIONS
from sepiola.specs.bridge import ProjectionSpec


class Projection(nn.Module):
    """Features `(images, patches, image_width)` to tokens `(images, tokens, width)`; `tokens` of each image."""

    def __init__(self, spec: ProjectionSpec, width: int, image_width: int, patches: int) -> None:
        super().__init__()
        self.shuffle = spec.shuffle
        self.neighbours = spec.neighbours
        self.tokens = patches // (spec.shuffle**2 * spec.neighbours)
        side = math.isqrt(patches)
        if spec.shuffle > 1 and (side * side != patches or side % spec.shuffle):
            raise SpecError(
                f"bridge.shuffle {spec.shuffle}: the eye gives {patches} patches, which are no square of a side that "
                f"{spec.shuffle} divides"
            )
        if patches % spec.neighbours:
            raise SpecError(f"bridge.neighbours {spec.neighbours}: the eye gives {patches} patches, no multiple of it")
        widths = [image_width * spec.shuffle**2 * spec.neighbours, *[width] * spec.layers]
        layers = [nn.Linear(into, out, bias=spec.bias) for into, out in pairwise(widths)]
        self.layers = nn.ModuleList(layers)
        self.activation = ACTIVATIONS[spec.activation]
        for layer in layers:
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        first, *more = self.layers
        laid = shuffled(features, self.shuffle).unflatten(1, (self.tokens, self.neighbours)).flatten(2)
        x: Tensor = first(laid)
        for layer in more:
            x = layer(self.activation(x))
        return x


def shuffled(features: Tensor, by: int) -> Tensor:
    """Squares of `by × by` patches as one `(images, patches / by², width * by²)`, line by line (Idefics3)."""
    if by == 1:
        return features
    images, patches, width = features.shape
    grid = math.isqrt(patches) // by
    squares = features.view(images, grid, by, grid, by, width).transpose(2, 3)
    return squares.reshape(images, grid * grid, by * by * width)
