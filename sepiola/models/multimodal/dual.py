"""Two towers, one for images and one for texts, whose outputs are compared: CLIP (arXiv 2103.00020) and SigLIP
(2303.15343).

Nothing passes between the towers, so a million pictures are encoded once and then found by any text.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sepiola.errors import DataError
from sepiola.models.bridges.shared import SharedSpace
from sepiola.models.multimodal.vision_language import LanguageNetwork, VisionLanguageModel
from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.models.vision.vit import ViT
from sepiola.specs.bridge import DualSpec
from sepiola.specs.model import ModelSpec


class DualEncoder(VisionLanguageModel):
    """The text tower is `language`, the image tower `vision`, and `bridge` the space that they share."""

    interleaved = False
    language: LanguageNetwork
    bridge: SharedSpace
    vision: VisionEncoder

    @property
    def text_length(self) -> int | None:
        """The length that every text is padded to, without a mask; None where a text may be of any length."""
        return self.spec.positions.length if self.bridge.spec.text == "last" else None

    def forward(self, tokens: Tensor, *, images: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits `(images, texts)`: how well each image and each text go together."""
        logits: Tensor = self.bridge(self.image(images), self.text(tokens, attention_mask=attention_mask))
        return logits

    def image(self, images: Tensor) -> Tensor:
        """Vectors `(images, width)` of length 1, of pixels `(images, 3, height, width)` or features of the vision
        encoder.
        """
        features = self.features(images)
        if self.bridge.pool is not None:
            pooled = self.bridge.pool(features)
        elif self.bridge.spec.image == "class":
            assert isinstance(self.vision, ViT)
            pooled = self.vision.pool(features)
        else:
            pooled = features.mean(1)
        return F.normalize(self.bridge.image_projection(pooled), dim=-1)

    def text(self, tokens: Tensor, *, attention_mask: Tensor | None = None) -> Tensor:
        """Vectors `(texts, width)` of length 1, of token ids `(texts, tokens)`.

        Each text must hold the end token; or be padded to `text_length` where there is one, and then padding is read
        like the rest. Raises DataError for a mask, or another length, in that case.
        """
        if self.text_length is not None and (attention_mask is not None or tokens.shape[1] != self.text_length):
            given = f"{tokens.shape[1]} tokens long{' and have a mask' if attention_mask is not None else ''}"
            raise DataError(
                f"texts are {given}; this model reads texts padded to {self.text_length} tokens, without a mask"
            )
        states = self.language.states(tokens, attention_mask=attention_mask)
        if self.text_length is not None:
            pooled = states[:, -1]
        else:
            ends = (tokens == self.spec.tokens.end).int().argmax(dim=1)  # the first, for padding may be the same token
            pooled = states[torch.arange(len(states), device=states.device), ends]
        return F.normalize(self.bridge.text_projection(pooled), dim=-1)


def assemble(spec: ModelSpec, language: LanguageNetwork | None, vision: VisionEncoder | None) -> DualEncoder:
    """The whole model of a spec of two towers."""
    assert isinstance(spec.bridge, DualSpec) and language is not None and vision is not None
    return DualEncoder(language, SharedSpace(spec.bridge, language.spec.width, vision), vision)
