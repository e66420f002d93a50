"""Vision Transformer (arXiv 2010.11929), plain and as the image encoder of CLIP (arXiv 2103.00020) and its heirs.

Patches do not overlap, so their embedding is one matrix product over the patches laid out as rows; on a CPU
that is faster than the convolution it replaces.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sepiola.errors import DataError
from sepiola.models.layers import PreNormLayer
from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.nn.dropout import Dropout
from sepiola.nn.norms import norm
from sepiola.specs.vision import ViTSpec


class ViT(VisionEncoder):
    """Pixels `(batch, 3, size, size)` to features `(batch, patches, width)`, the class token first.

    `norm` closes the features (plain ViT) or only what `pooled` returns (CLIP, `final_norm: false`).
    """

    spec: ViTSpec

    def __init__(self, spec: ViTSpec) -> None:
        super().__init__()
        self.spec = spec
        self.width = spec.width
        self.tokens = (spec.pixels.size // spec.patch) ** 2 + spec.class_token
        self.patches = self.tokens - spec.patch_features
        self.patch_embedding = nn.Linear(3 * spec.patch**2, spec.width, bias=spec.patch_bias)
        self.class_token = nn.Parameter(torch.empty(1, 1, spec.width)) if spec.class_token else None
        self.positions = nn.Parameter(torch.empty(1, self.tokens, spec.width))
        self.dropout = Dropout(spec.dropout)
        self.input_norm = norm(spec.width, spec.norm) if spec.input_norm else nn.Identity()
        self.layers = nn.ModuleList(
            PreNormLayer(spec.width, spec.attention, spec.feed_forward, spec.norm, cross=False, dropout=spec.dropout)
            for _ in range(spec.layers)
        )
        self.norm = norm(spec.width, spec.norm)
        self.closes = spec.final_norm and spec.feature_layer == -1
        self.read = spec.layers + 1 + spec.feature_layer  # layers that features run through
        if self.positions.device.type != "meta":
            self._initialise()

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                nn.init.trunc_normal_(parameter, std=0.02, a=-0.04, b=0.04)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features `(batch, patches, width)`. Raises DataError when the picture has another size."""
        x = self.embed(pixels)
        for layer in self.layers[: self.read]:
            x = layer(x)
        return self.close(x)

    def embed(self, pixels: Tensor) -> Tensor:
        """The layers' input: patches with their positions, the class token first."""
        x = self.patch_embedding(self._rows(pixels))
        if self.class_token is not None:
            x = torch.cat((self.class_token.expand(x.shape[0], -1, -1), x), dim=1)
        return self.input_norm(self.dropout(x + self.positions))

    def close(self, states: Tensor) -> Tensor:
        """The features of the last layer's states."""
        states = self.norm(states) if self.closes else states
        return states[:, 1:] if self.spec.patch_features else states

    def pooled(self, pixels: Tensor) -> Tensor:
        """The normalised class token `(batch, width)`, or the mean over the patches where there is none."""
        return self.pool(self(pixels))

    def pool(self, features: Tensor) -> Tensor:
        """What `pooled` makes of features `(batch, patches, width)` that are there already."""
        state = features[:, 0] if self.class_token is not None else features.mean(1)
        return state if self.closes else self.norm(state)

    def _rows(self, pixels: Tensor) -> Tensor:
        """Each patch as a row `(batch, patches, 3 * patch * patch)`: channel, then line, then column."""
        side, patch = self.spec.pixels.size, self.spec.patch
        if pixels.shape[1:] != (3, side, side):
            raise DataError(
                f"pixels are {tuple(pixels.shape)}; this encoder expects (batch, 3, {side}, {side}): use "
                "sepiola.models.vision.pixels.to_pixels, which resizes the picture"
            )
        grid = side // patch
        whole = pixels[:, :, : grid * patch, : grid * patch]  # the rest of a line is no patch (SigLIP: 384 of 14)
        cut = whole.to(self.patch_embedding.weight.dtype).reshape(-1, 3, grid, patch, grid, patch)
        return cut.permute(0, 2, 4, 1, 3, 5).reshape(-1, grid * grid, 3 * patch * patch)
