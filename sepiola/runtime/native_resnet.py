"""The convolutions of a ResNet in the native core's form, their norms folded into their weights; and a ResNet alone."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from sepiola.models.vision.resnet import Backbone, Block, ConvNorm, ResNet
from sepiola.runtime.native_part import CoreVision
from sepiola.runtime.native_weights import Named
from sepiola.specs.vision import BackboneSpec


class CoreResNet(CoreVision):
    """Features of a map are its pixels, row by row."""

    unsupported: str | None = None

    def __init__(self, vision: nn.Module) -> None:
        assert isinstance(vision, ResNet)
        super().__init__(vision)
        self.resnet = vision

    def spec(self) -> dict[str, object]:
        spec = self.resnet.spec
        return {"kind": "resnet", "size": spec.pixels.size, **backbone_spec(spec)}

    def tensors(self) -> Iterator[Named]:
        return backbone_tensors(self.resnet)


def backbone_spec(spec: BackboneSpec) -> dict[str, object]:
    """A backbone's choices, as the core takes them."""
    return {
        "stem_width": spec.stem_width,
        "widths": list(spec.widths),
        "depths": list(spec.depths),
        "bottleneck": spec.block == "bottleneck",
    }


def backbone_tensors(backbone: Backbone) -> Iterator[Named]:
    """A matrix for each convolution: its rows read a square line by line, all channels of a pixel together."""
    yield from _folded("vision.stem", backbone.stem)
    for number, stage in enumerate(backbone.stages):
        for depth, block in enumerate(stage.children()):
            assert isinstance(block, Block)
            at = f"vision.stage.{number}.{depth}"
            for index, conv in enumerate(block.convs):
                assert isinstance(conv, ConvNorm)
                yield from _folded(f"{at}.{index}", conv)
            if isinstance(block.shortcut, ConvNorm):
                yield from _folded(f"{at}.shortcut", block.shortcut)


def _folded(name: str, part: ConvNorm) -> Iterator[Named]:
    norm = part.norm
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    weights = part.conv.weight * scale[:, None, None, None]
    yield name, weights.permute(0, 2, 3, 1).flatten(1), part.conv
    yield f"{name}.bias", norm.bias - norm.running_mean * scale, None
