"""What all models that see have in common: a vision encoder, a bridge and a language model as one module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.models.bridges.qformer import QFormer
from sepiola.models.transformer import DecodingState
from sepiola.specs.bridge import QueryTextSpec


class VisionLanguageModel(nn.Module):
    """The parts by name. Where images are `interleaved`, placeholders in the text say where each stands, and `images`
    are those of the whole batch in the order in which they are read: pixels `(images, 3, height, width)` or features
    `(images, patches, width)`. Where the vision encoder sees pictures in tiles, each tile is an image.
    """

    interleaved = True

    def __init__(self, language: Any, bridge: Any, vision: Any = None) -> None:
        super().__init__()
        self.language = language
        self.bridge = bridge
        self.vision = vision

    @property
    def spec(self) -> Any:
        return self.language.spec

    @property
    def head(self) -> nn.Module:
        head: nn.Module = self.language.head
        return head

    @property
    def instructed(self) -> QueryTextSpec | None:
        """What the bridge reads of the messages beside the images, if it reads them."""
        spec = self.bridge.spec if isinstance(self.bridge, QFormer) else None
        return spec.text if spec is not None and spec.instructed else None

    def extend(self, tokens: Tensor, state: DecodingState) -> Tensor:
        """States `(batch, new, width)` of new text tokens `(batch, new)` after what the state holds."""
        states: Tensor = self.language.extend(tokens, state)
        return states

    def sizes(self, images: Sequence[ImageRef]) -> Tensor | None:
        """Heights and widths `(images, 2)` of one prompt's pictures, if the model must know them (`image_sizes`)."""
        return None

    def features(self, images: Tensor) -> Tensor:
        """Features `(images, patches, width)` of placed images: the vision encoder's of pixels, or those that are
        given.

        Raises DataError for features that are not the vision encoder's.
        """
        if images.dim() == 4:
            looked: Tensor = self.vision(images)
            return looked
        if images.shape[1:] != (self.vision.patches, self.vision.width):
            raise DataError(
                f"image features are {tuple(images.shape[1:])}; this model's vision encoder gives "
                f"({self.vision.patches}, {self.vision.width}) for each image"
            )
        return images.to(next(self.bridge.parameters()).dtype)


class QFormerModel(VisionLanguageModel):
    """A vision encoder and a Q-Former that compares what it sees with texts, without a language model (BLIP-2's first
    stage).
    """

    def forward(self, images: Tensor, text: Tensor) -> Tensor:
        """How alike images and texts are, `(images, texts)` cosines: those of each image's best query."""
        vectors = self.bridge.image_vectors(self.features(images))
        return (vectors @ self.bridge.text_vectors(text).t()).amax(1)

    def match(self, images: Tensor, text: Tensor) -> Tensor:
        """Logits `(pairs, 2)` of whether each text is not, or is, that of its image."""
        matched: Tensor = self.bridge.match(self.features(images), text)
        return matched


def vision_of(network: nn.Module) -> nn.Module:
    """The vision encoder of a network, or the network where it is one."""
    vision: nn.Module = network.vision if isinstance(network, VisionLanguageModel) else network
    return vision
