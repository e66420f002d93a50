"""Models with a Q-Former: under a language model, or alone (BLIP-2, arXiv 2301.12597)."""

from __future__ import annotations

from torch import Tensor

from sepiola.models.bridges.qformer import QFormer
from sepiola.models.multimodal.prefix import PrefixModel
from sepiola.models.multimodal.vision_language import LanguageNetwork, VisionLanguageModel
from sepiola.models.vision.tiles import tiling
from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.specs.bridge import QFormerSpec, QueryTextSpec
from sepiola.specs.model import ModelSpec


class QFormerModel(VisionLanguageModel):
    """A vision encoder and a Q-Former that compares images with texts, without a language model (BLIP-2's first
    stage).
    """

    bridge: QFormer
    vision: VisionEncoder

    @property
    def instructed(self) -> QueryTextSpec | None:
        return self.bridge.instructed

    def forward(self, images: Tensor, text: Tensor) -> Tensor:
        """How alike images and texts are, `(images, texts)` cosines: those of each image's best query."""
        vectors = self.bridge.image_vectors(self.features(images))
        return (vectors @ self.bridge.text_vectors(text).t()).amax(1)

    def match(self, images: Tensor, text: Tensor) -> Tensor:
        """Logits `(pairs, 2)` of whether each text is not, or is, that of its image."""
        return self.bridge.match(self.features(images), text)


def assemble(
    spec: ModelSpec, language: LanguageNetwork | None, vision: VisionEncoder | None
) -> PrefixModel | QFormerModel:
    """The whole model of a spec whose bridge is a Q-Former."""
    assert isinstance(spec.bridge, QFormerSpec) and vision is not None
    if language is None:
        return QFormerModel(None, QFormer(spec.bridge, None, vision.width), vision)
    bridge = QFormer(spec.bridge, language.spec.width, vision.width)
    return PrefixModel(language, bridge, vision, spec.bridge.token, tiling(vision.spec.pixels))
