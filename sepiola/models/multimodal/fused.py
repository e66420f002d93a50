"""A model whose text has seen the images once it is read: vision encoder, gated fusion and encoder-decoder.

Images arrive as pixels, which the vision encoder turns into features, or as features computed before (a frozen
encoder's output is a column of the dataset). A question without an image has zero features, as in Multimodal-CoT.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sepiola.errors import DataError
from sepiola.models.bridges.fusion import GatedFusion
from sepiola.models.multimodal.vision_language import LanguageNetwork, VisionLanguageModel
from sepiola.models.transformer import DecodingState, EncoderDecoder
from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.specs.bridge import GatedFusionSpec
from sepiola.specs.model import ModelSpec


class FusedModel(VisionLanguageModel):
    """An encoder-decoder whose encoder states are fused with image features.

    `images` is pixels `(batch, 3, height, width)`, pixels of several images `(batch, images, 3, height, width)`, or
    features `(batch, patches, image_width)`; None means no image. `image_mask` `(batch, images)` numbers, for each
    image, the segment it belongs to (0: none); with features it is `(batch, patches)`.
    """

    interleaved = False
    language: EncoderDecoder
    bridge: GatedFusion

    def __init__(self, language: EncoderDecoder, bridge: GatedFusion, vision: VisionEncoder | None = None) -> None:
        super().__init__(language, bridge, vision)

    def states(
        self,
        source: Tensor,
        target: Tensor,
        *,
        images: Tensor | None = None,
        attention_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
        image_mask: Tensor | None = None,
    ) -> Tensor:
        """The decoder's final states `(batch, target tokens, width)`."""
        memory = self.encode(source, images=images, attention_mask=attention_mask, image_mask=image_mask)
        return self.language.decode(target, memory, attention_mask=attention_mask, target_mask=target_mask)

    def encode(
        self,
        source: Tensor,
        *,
        images: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_mask: Tensor | None = None,
    ) -> Tensor:
        """Encoder states `(batch, source tokens, width)` that have seen the images."""
        states = self.language.encode(source, attention_mask=attention_mask)
        features, mask = self._features(images, states, image_mask)
        fused: Tensor = self.bridge(states, features, attention_mask, mask)
        return fused

    def _features(self, images: Tensor | None, like: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Features `(batch, patches, image_width)` of pixels or features, and the mask spread over patches.

        Without images one zero patch does: attention over equal patches does not depend on their number.

        Raises DataError when pixels are given to a model without a vision encoder or the widths differ.
        """
        width = self.bridge.image_width
        if images is None:
            return torch.zeros(like.shape[0], 1, width, dtype=like.dtype, device=like.device), None
        if images.dim() == 3:
            if images.shape[-1] != width:
                raise DataError(f"image features are {images.shape[-1]} wide; this model's bridge expects {width}")
            return images.to(like.dtype), mask
        if self.vision is None:
            raise DataError(
                f"pixels were given, but this model has no vision encoder; give features (batch, patches, {width})"
            )
        if images.dim() == 4:
            return self._blank(self.vision(images), mask), None
        batch, count = images.shape[:2]
        features = self.vision(images.flatten(0, 1))
        patches = features.shape[1]
        features = features.view(batch, count * patches, -1)
        if mask is None:
            return features, None
        spread = mask.repeat_interleave(patches, dim=1)
        return self._blank(features, spread), spread

    def _blank(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Rows without an image hold zero features, the same as a question that never had one."""
        if mask is None:
            return features
        return features * (mask > 0).to(features.dtype).view(mask.shape[0], -1, 1)

    def begin(
        self,
        source: Tensor,
        capacity: int,
        *,
        images: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_mask: Tensor | None = None,
    ) -> DecodingState:
        """Encodes source and images once; the state then decodes up to `capacity` tokens."""
        memory = self.encode(source, images=images, attention_mask=attention_mask, image_mask=image_mask)
        return self.language.begin_from(memory, capacity, attention_mask)


def assemble(spec: ModelSpec, language: LanguageNetwork | None, vision: VisionEncoder | None) -> FusedModel:
    """The whole model of a spec whose bridge is gated fusion."""
    assert isinstance(spec.bridge, GatedFusionSpec) and isinstance(language, EncoderDecoder)
    image_width = vision.width if vision is not None else spec.bridge.image_width
    assert image_width is not None
    return FusedModel(language, GatedFusion(language.spec.width, image_width), vision)
