"""Images that the language model looks at from between its layers: Flamingo (arXiv 2204.14198), OpenFlamingo.

A placeholder in the text marks where an image stands; every token attends to the last image before it, and to no other.
An encoder-decoder reads the placeholders in its source: all of its target comes after the source's last image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.models.bridges.gated import GatedCross, Media
from sepiola.models.multimodal.vision_language import LanguageNetwork, VisionLanguageModel
from sepiola.models.transformer import DecodingState, EncoderDecoder
from sepiola.models.vision.tiles import ImageTokens
from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.nn.attend import segment_begins
from sepiola.specs.bridge import GatedCrossSpec
from sepiola.specs.model import ModelSpec


class CrossModel(VisionLanguageModel):
    """`token` is the placeholder's id, one for each image.

    `images` may also be videos `(videos, frames, 3, height, width)`, each at one placeholder.
    """

    language: LanguageNetwork
    bridge: GatedCross

    def __init__(
        self, language: LanguageNetwork, bridge: GatedCross, vision: VisionEncoder | None, token: int | None
    ) -> None:
        super().__init__(language, bridge, vision)
        self.token = token

    def states(
        self,
        tokens: Tensor,
        *target: Tensor,
        images: Tensor | None = None,
        attention_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
    ) -> Tensor:
        """The decoder's final states, which saw the images; the head is not yet applied.

        Raises DataError when placeholders and images are not as many.
        """
        place, media = self._media(tokens, images)
        if not target:
            inserted_layers = self.bridge.between(media, last_image(place, attention_mask))
            return self.language.states(tokens, attention_mask=attention_mask, inserted_layers=inserted_layers)
        assert isinstance(self.language, EncoderDecoder)
        inserted_layers = self.bridge.between(media, last_of_source(place, attention_mask, target[0], target_mask))
        memory = self.language.encode(tokens, attention_mask=attention_mask)
        return self.language.decode(
            target[0], memory, attention_mask=attention_mask, target_mask=target_mask, inserted_layers=inserted_layers
        )

    def begin(
        self,
        tokens: Tensor,
        capacity: int,
        *,
        images: Tensor | None = None,
        attention_mask: Tensor | None = None,
        ahead: Tensor | None = None,
    ) -> DecodingState:
        """A decoding state that has read the prompt and holds its images; see the language model's `begin`."""
        place, media = self._media(tokens, images)
        if self.spec.kind == "encoder-decoder":
            state = self.language.begin(tokens, capacity, attention_mask=attention_mask)
            if media is not None:
                media.current = media.count
            state.media = media
            return state
        read = place[:, :-1].cumsum(1)
        inserted_layers = self.bridge.between(media, read)
        state = self.language.begin(
            tokens, capacity, attention_mask=attention_mask, ahead=ahead, inserted_layers=inserted_layers
        )
        if media is not None and read.shape[1]:
            media.current = read[:, -1]
        state.media = media
        return state

    def extend(self, tokens: Tensor, state: DecodingState, attention_mask: Tensor | None = None) -> Tensor:
        """States `(batch, new, width)` of new text tokens `(batch, new)` after what the state holds."""
        media = state.media
        assert media is None or isinstance(media, Media)
        current = torch.zeros_like(tokens)
        if media is not None:  # a placeholder that the model writes itself brings no image
            current = torch.minimum(media.current[:, None] + self._place(tokens).cumsum(1), media.count[:, None])
            media.current = current[:, -1]
        inserted_layers = self.bridge.between(media, current)
        return self.language.extend(tokens, state, inserted_layers, attention_mask)

    def features(self, images: Tensor) -> Tensor:
        """Features `(images, patches, width)` of images, or `(videos, frames, patches, width)` of videos.

        Raises DataError for features of another width, and for pixels without a vision encoder.
        """
        if self.vision is not None and images.dim() == 5:
            encoded: Tensor = self.vision(images.flatten(0, 1)).unflatten(0, images.shape[:2])
            return encoded
        if self.vision is not None:
            return super().features(images)
        if images.dim() != 3 or images.shape[-1] != self.bridge.image_width:
            raise DataError(
                f"images are {tuple(images.shape)}; this model has no vision encoder: give features "
                f"(images, patches, {self.bridge.image_width})"
            )
        return images

    def image_tokens(self, images: Sequence[ImageRef]) -> list[ImageTokens]:
        """The token that stands for each image of a prompt. Raises DataError where the spec names no placeholder."""
        if self.token is None:
            raise DataError("the model's spec names no placeholder for images (bridge.token)")
        return [(self.token,) for _ in images]

    def _place(self, tokens: Tensor) -> Tensor:
        return tokens == (-1 if self.token is None else self.token)

    def _media(self, tokens: Tensor, images: Tensor | None) -> tuple[Tensor, Media | None]:
        """Where the placeholders are, and what stands there; None for a batch without images."""
        place = self._place(tokens)
        count = place.sum(1)
        wanted, given = int(count.sum()), 0 if images is None else len(images)
        if wanted != given:
            raise DataError(
                f"the text has {wanted} image placeholders, and there are {given} images; give one for each"
            )
        return place, None if images is None else self.bridge.media(self.features(images), count)


def assemble(spec: ModelSpec, language: LanguageNetwork | None, vision: VisionEncoder | None) -> CrossModel:
    """The whole model of a spec whose bridge is gated cross-attention."""
    assert isinstance(spec.bridge, GatedCrossSpec) and language is not None
    image_width = vision.width if vision is not None else spec.bridge.image_width
    assert image_width is not None
    bridge = GatedCross(spec.bridge, language.spec.width, language.spec.layers, image_width)
    return CrossModel(language, bridge, vision, spec.bridge.token)


def last_image(place: Tensor, segments: Tensor | None) -> Tensor:
    """The number, in its row and from 1, of the last image at or before each token and in its segment; 0 for none.
    Padding sees none, and ends no segment.

    `place` `(batch, tokens)` is true at placeholders.
    """
    number = place.cumsum(1)
    if segments is None:
        return number
    real = segments != 0
    begins = segment_begins(segments)
    index = torch.arange(place.shape[1], device=place.device).expand_as(place)
    image, start = (torch.where(at, index, -1).cummax(1).values for at in (place & real, begins))
    return number.gather(1, image.clamp(min=0)) * (image >= start) * real


def last_of_source(place: Tensor, segments: Tensor | None, target: Tensor, target_segments: Tensor | None) -> Tensor:
    """The number of the last image in the source of each target token's segment `(batch, target tokens)`; 0 is none."""
    segments = torch.ones_like(place, dtype=torch.long) if segments is None else segments
    target_segments = torch.ones_like(target) if target_segments is None else target_segments
    number = place.cumsum(1) * place
    same = segments[:, None] == target_segments[:, :, None]
    return (number[:, None] * same).amax(-1)
