"""A ViT in the native core's form."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from sepiola.models.layers import Layer
from sepiola.models.vision.vit import ViT
from sepiola.runtime.native_part import CoreVision
from sepiola.runtime.native_weights import Named, layer_tensors, linear_tensors, norm_tensors, stack_spec


class CoreViT(CoreVision):
    """Its layers are a stack of the core's, which reads patches instead of tokens."""

    def __init__(self, vision: nn.Module) -> None:
        assert isinstance(vision, ViT)
        super().__init__(vision)
        self.vit = vision

    @property
    def unsupported(self) -> str | None:
        return None if self.vit.read else "has no layers before its features (vision.feature_layer)"

    def spec(self) -> dict[str, object]:
        spec = self.vit.spec
        layers = stack_spec(spec.width, spec.attention, spec.feed_forward, spec.norm, self.vit.read)
        return {
            "kind": "vit",
            "size": spec.pixels.size,
            "patch": spec.patch,
            "width": spec.width,
            "class_token": spec.class_token,
            "patch_features": spec.patch_features,
            "closes": self.vit.closes,
            "stack": {**layers, "place": "pre"},
        }

    def tensors(self) -> Iterator[Named]:
        vit = self.vit
        yield from linear_tensors("vision.patch_embedding", vit.patch_embedding)
        if vit.class_token is not None:
            yield "vision.class_token", vit.class_token.flatten(), None
        yield "vision.positions", vit.positions[0], None
        yield from norm_tensors("vision.embedding_norm", vit.input_norm)
        if vit.closes:
            yield from norm_tensors("vision.norm", vit.norm)
        for number, layer in enumerate(vit.layers[: vit.read]):
            assert isinstance(layer, Layer)
            yield from layer_tensors(f"vision.{number}", layer)
