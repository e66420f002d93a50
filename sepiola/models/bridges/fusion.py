"""Gated fusion of Multimodal-CoT (arXiv 2302.00923, section 3.2): the image enters once, after the text encoder.

Each text state attends to the image's patches with one head, and a gate decides how much of what it saw replaces it:
`A = attention(H, V, V)`, `g = sigmoid(W [H; A])`, `H' = (1 - g) H + g A`. Without an image the features are zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sepiola.nn.attend import attend, mask_bias
from sepiola.nn.linear import BlockLinear


class GatedFusion(nn.Module):
    """`(batch, tokens, width)` text states and `(batch, patches, image_width)` features to new text states."""

    def __init__(self, width: int, image_width: int) -> None:
        super().__init__()
        self.image_width = image_width
        self.image = nn.Linear(image_width, width)
        self.q = nn.Linear(width, width)
        self.kv = BlockLinear(width, {"k": width, "v": width})
        self.out = nn.Linear(width, width)
        self.gate = nn.Linear(2 * width, width)
        self.scale = width**-0.5
        for layer in (self.image, self.q, self.kv, self.out, self.gate):  # torch's default is too small to see by
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)

    def forward(
        self, states: Tensor, features: Tensor, segments: Tensor | None = None, image_segments: Tensor | None = None
    ) -> Tensor:
        """`image_segments` `(batch, patches)`: 0 hides a patch; in packed rows a token sees its own segment's image."""
        keys, values = self.kv(self.image(features)).chunk(2, dim=-1)
        bias = None
        if image_segments is not None:
            bias = mask_bias(
                segments,
                image_segments,
                causal=None,
                queries=states.shape[1],
                keys=features.shape[1],
                dtype=states.dtype,
                device=states.device,
            )
        q, k, v = self.q(states)[:, None], keys[:, None], values[:, None]
        attended = self.out(attend(q, k, v, bias, self.scale, 0.0))
        gate = torch.sigmoid(self.gate(torch.cat((states, attended), dim=-1)))
        return torch.lerp(states, attended.to(states.dtype), gate.to(states.dtype))
