"""What all models that see have in common: a vision encoder, a bridge and a language model as one module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.models.layers import NO_LAYERS, InsertedLayers
from sepiola.models.transformer import DecodingState
from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.models.vocabulary import TokenEmbedding
from sepiola.specs.bridge import QueryTextSpec
from sepiola.specs.model import TransformerSpec

PARTS = ("language", "vision", "bridge")


class LanguageNetwork(Protocol):
    """A decoder or an encoder-decoder, as bridges use it. An encoder-decoder's `states` also take the target."""

    @property
    def spec(self) -> TransformerSpec: ...
    @property
    def embedding(self) -> TokenEmbedding: ...
    @property
    def head(self) -> nn.Module: ...
    @property
    def states(self) -> Callable[..., Tensor]: ...
    @property
    def begin(self) -> Callable[..., DecodingState]: ...
    def extend(
        self,
        tokens: Tensor,
        state: DecodingState,
        inserted_layers: InsertedLayers = NO_LAYERS,
        attention_mask: Tensor | None = None,
    ) -> Tensor: ...
    def __call__(self, tokens: Tensor, *target: Tensor, **masks: Tensor | None) -> Tensor: ...


class VisionLanguageModel(nn.Module):
    """The parts by name. Where images are `interleaved`, placeholders in the text say where each stands, and `images`
    are those of the whole batch in the order in which they are read: pixels `(images, 3, height, width)` or features
    `(images, patches, width)`. Where the vision encoder sees pictures in tiles, each tile is an image.
    """

    interleaved = True

    def __init__(
        self, language: LanguageNetwork | None, bridge: nn.Module | None, vision: VisionEncoder | None = None
    ) -> None:
        super().__init__()
        self.language = language
        self.bridge = bridge
        self.vision = vision

    @property
    def spec(self) -> TransformerSpec:
        assert self.language is not None
        return self.language.spec

    @property
    def head(self) -> nn.Module:
        assert self.language is not None
        return self.language.head

    @property
    def first(self) -> bool:
        """Whether pictures stand before all of a prompt's text."""
        return False

    @property
    def instructed(self) -> QueryTextSpec | None:
        """What the bridge reads of the messages beside the images, if it reads them."""
        return None

    def states(self, *tokens: Any, **inputs: Any) -> Tensor:
        """The final states of the text, which saw the images. Models that compare rather than write have none."""
        raise NotImplementedError

    def forward(self, *tokens: Any, **inputs: Any) -> Any:
        """Logits: the head over `states`, which takes the same."""
        return self.head(self.states(*tokens, **inputs))

    def parts(self) -> dict[str, nn.Module]:
        """The parts that are there, by name."""
        children = dict(self.named_children())
        return {name: children[name] for name in PARTS if name in children}

    def extend(self, tokens: Tensor, state: DecodingState, attention_mask: Tensor | None = None) -> Tensor:
        """States `(batch, new, width)` of new text tokens `(batch, new)` after what the state holds.

        `attention_mask` `(batch, new)` says which of them are no padding.
        """
        assert self.language is not None
        return self.language.extend(tokens, state, attention_mask=attention_mask)

    def sizes(self, images: Sequence[ImageRef]) -> Tensor | None:
        """Heights and widths `(images, 2)` of one prompt's pictures, if the model must know them (`image_sizes`)."""
        return None

    def features(self, images: Tensor) -> Tensor:
        """Features `(images, patches, width)` of placed images: the vision encoder's of pixels, or those that are
        given.

        Raises DataError for features that are not the vision encoder's.
        """
        assert self.vision is not None and self.bridge is not None
        if images.dim() == 4:
            encoded: Tensor = self.vision(images)
            return encoded
        if images.shape[1:] != (self.vision.patches, self.vision.width):
            raise DataError(
                f"image features are {tuple(images.shape[1:])}; this model's vision encoder gives "
                f"({self.vision.patches}, {self.vision.width}) for each image"
            )
        return images.to(next((p.dtype for p in self.bridge.parameters()), torch.float32))


def vision_of(network: nn.Module) -> VisionEncoder:
    """The vision encoder of a network, or the network where it is one."""
    vision = network.vision if isinstance(network, VisionLanguageModel) else network
    assert isinstance(vision, VisionEncoder)
    return vision
