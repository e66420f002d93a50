"""Specs of vision encoders, and of how a picture becomes pixels.

The `family` of a vision encoder names the layout at the Hub in which it is written as a part of a larger model.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from sepiola.specs.base import Spec
from sepiola.specs.bricks import AttentionSpec, FeedForwardSpec, NormSpec, Probability, check_heads
from sepiola.specs.values import Heads, Layers, Side, Width

Deviation = Annotated[float, Field(ge=1e-4, le=1e4)]


class GridSpec(Spec):
    """Tiles of Idefics3 and SmolVLM (arXiv 2408.12637, 2504.05299): the longest edge of the picture at `longest`, both
    sides stretched to whole tiles, and the whole picture as the last tile.
    """

    kind: Literal["grid"]
    longest: PositiveInt = Field(default=2048, le=4096)


class AnyResSpec(Spec):
    """Tiles of LLaVA-OneVision (arXiv 2408.03326): the whole picture, then those of the best of `grids` (rows and
    columns), into which it fits with its aspect kept.

    What its borders add is left out again, and a map of more patches than `most` tiles have is scaled down to that. Of
    several pictures in one prompt each is one tile.
    """

    kind: Literal["anyres"]
    grids: tuple[tuple[PositiveInt, PositiveInt], ...] = Field(min_length=1)
    most: int = Field(default=9, ge=1, le=4096)


TilingSpec = Annotated[GridSpec | AnyResSpec, Field(discriminator="kind")]


class PixelSpec(Spec):
    """How a picture becomes pixels: resized to `size`, rescaled to 0…1, normalised by channel.

    `squash` resizes both sides to `size`; `crop` resizes the shorter side to `resize` (or `size`) and crops the centre;
    `fit` keeps the aspect with the shorter side at `size` and the longer at most `longest` (DETR). With `pad` the
    picture first lies in the middle of a square of the mean colour (LLaVA). With `tiles` a large picture becomes
    several of `size`.
    """

    size: Side
    mode: Literal["squash", "crop", "fit"] = "squash"
    resize: Side | None = None
    longest: Side | None = None
    pad: bool = False
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] = "bilinear"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[Deviation, Deviation, Deviation] = (0.5, 0.5, 0.5)
    tiles: TilingSpec | None = None

    @model_validator(mode="after")
    def _modes(self) -> PixelSpec:
        if self.resize is not None and (self.mode != "crop" or self.resize < self.size):
            raise ValueError(f"'resize' is for mode 'crop' and at least 'size' ({self.size}); got {self.resize}")
        if (self.longest is not None) != (self.mode == "fit") or (self.longest or self.size) < self.size:
            raise ValueError(f"mode 'fit', and no other, needs 'longest', at least 'size' ({self.size})")
        if self.tiles is not None and self.mode != "squash":
            raise ValueError(f"'tiles' are squares of mode 'squash'; mode is '{self.mode}'")
        return self


class ViTSpec(Spec):
    """Vision Transformer (arXiv 2010.11929). CLIP's (arXiv 2103.00020) adds `input_norm` and quick GELU; SigLIP's
    (2303.15343) has no class token; EVA-CLIP's (2303.15389), as in BLIP-2, is plain.

    Features are all states of the last layer, the class token first when there is one. `final_norm` closes the stack
    (plain ViT); CLIP's features are the last layer's states without it. `feature_layer` counts layers from the end, -1
    being the last (LLaVA reads -2), and `patch_features` leaves out the class token. Pixels beyond the last whole
    patch, at the right and below, are not seen (6 of the 384 of SigLIP so400m).
    """

    family: str = ""
    kind: Literal["vit"]
    pixels: PixelSpec
    patch: Side
    width: Width
    layers: Layers
    attention: AttentionSpec
    feed_forward: FeedForwardSpec
    norm: NormSpec = NormSpec(eps=1e-12)
    class_token: bool = True
    patch_bias: bool = True
    input_norm: bool = False
    final_norm: bool = True
    feature_layer: int = Field(default=-1, le=-1)
    patch_features: bool = False
    dropout: Probability = 0.0

    @model_validator(mode="after")
    def _shapes(self) -> ViTSpec:
        check_heads(self.width, self.attention)
        if self.pixels.size < self.patch:
            raise ValueError(f"pixels.size ({self.pixels.size}) must hold a patch ({self.patch})")
        if -self.feature_layer > self.layers + 1:
            raise ValueError(f"feature_layer {self.feature_layer}: there are {self.layers} layers and their input")
        if self.patch_features and not self.class_token:
            raise ValueError("patch_features leaves out the class token, and there is none")
        if self.feed_forward.balance_loss or self.feed_forward.router_z_loss:
            raise ValueError("feed_forward.balance_loss and router_z_loss are for a language model's experts")
        return self


class BackboneSpec(Spec):
    """The convolutions of a ResNet: a stem, then stages of residual blocks, each at half its predecessor's size.

    `frozen_norm` fixes the batch normalisation's statistics and affine values, as a backbone's in DETR.
    """

    stem_width: Width = 64
    widths: tuple[Width, ...] = (256, 512, 1024, 2048)
    depths: tuple[Layers, ...] = (3, 4, 6, 3)
    block: Literal["basic", "bottleneck"] = "bottleneck"
    frozen_norm: bool = False

    @model_validator(mode="after")
    def _stages(self) -> BackboneSpec:
        if not self.widths or len(self.widths) != len(self.depths):
            raise ValueError(f"widths ({len(self.widths)} stages) and depths ({len(self.depths)}) must be as many")
        if self.block == "bottleneck" and any(width % 4 for width in self.widths):
            raise ValueError(f"widths of bottleneck blocks must be multiples of 4, got {list(self.widths)}")
        return self


class ResNetSpec(BackboneSpec):
    """ResNet (arXiv 1512.03385), v1.5 strides. Features are the last stage's map, `(rows × columns, width)`."""

    family: str = ""
    kind: Literal["resnet"]
    pixels: PixelSpec


class DETRSpec(Spec):
    """DETR (arXiv 2005.12872): ResNet, encoder, decoder. Features are the last decoder states, `(queries, width)`.

    The encoder has `encoder_heads` and the feed-forward width `encoder_feed_forward` where they differ.
    """

    family: str = ""
    kind: Literal["detr"]
    pixels: PixelSpec
    backbone: BackboneSpec = BackboneSpec(frozen_norm=True)
    width: Width = 256
    layers: Layers = 6
    encoder_layers: Layers = 6
    heads: Heads = 8
    encoder_heads: Heads | None = None
    feed_forward: Width = 2048
    encoder_feed_forward: Width | None = None
    queries: int = Field(default=100, ge=1, le=1 << 16)

    @model_validator(mode="after")
    def _shapes(self) -> DETRSpec:
        for key, heads in (("heads", self.heads), ("encoder_heads", self.encoder_heads or self.heads)):
            if self.width % heads:
                raise ValueError(f"width ({self.width}) must be a multiple of {key} ({heads})")
        if self.width % 4:
            raise ValueError(f"width ({self.width}) must be a multiple of 4: sines and cosines of rows and columns")
        return self


VisionSpec = Annotated[ViTSpec | ResNetSpec | DETRSpec, Field(discriminator="kind")]
