"""Images as soft tokens: what the bridge makes of an image stands in the text where the prompt has placeholders.

So do LLaVA (arXiv 2310.03744), MiniGPT-4 (2304.10592), BLIP-2 (2301.12597) and SmolVLM (2504.05299). A decoder reads
images and text in one row; an encoder-decoder has them in its source.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.models.seeing import SeeingModel
from sepiola.models.transformer import DecodingState


class PrefixModel(SeeingModel):
    """`token` is the placeholder's id; `tokens` of the bridge say how many of them an image takes."""

    def __init__(self, language: Any, bridge: Any, vision: Any, token: int | None) -> None:
        super().__init__(language, bridge, vision)
        self.token = token

    def forward(self, tokens: Tensor, *target: Tensor, images: Tensor | None = None, **masks: Any) -> Tensor:
        """Logits as the language model's of `tokens` (and `target`), `images` where the placeholders are.

        Raises DataError when placeholders and image tokens are not as many.
        """
        embedded = self.embed(tokens, images, masks.pop("instructions", None))
        logits: Tensor = self.language(embedded, *target, **masks)
        return logits

    def states(self, tokens: Tensor, *target: Tensor, images: Tensor | None = None, **masks: Any) -> Tensor:
        """The language model's final states, the head not yet applied."""
        embedded = self.embed(tokens, images, masks.pop("instructions", None))
        states: Tensor = self.language.states(embedded, *target, **masks)
        return states

    def begin(self, tokens: Tensor, capacity: int, *, images: Tensor | None = None, **masks: Any) -> DecodingState:
        """A decoding state that has read the prompt; see the language model's `begin`."""
        embedded = self.embed(tokens, images, masks.pop("instructions", None))
        state: DecodingState = self.language.begin(embedded, capacity, **masks)
        return state

    def embed(self, tokens: Tensor, images: Tensor | None = None, instructions: Tensor | None = None) -> Tensor:
        """Vectors `(batch, tokens, width)` with the images' in the placeholders' stead.

        `instructions` `(images, tokens)` are what a bridge reads beside each image (InstructBLIP).
        """
        vectors: Tensor = self.language.embedding(tokens)
        place = tokens == (-1 if self.token is None else self.token)
        read = () if instructions is None else (instructions,)
        made = None if images is None else self.bridge(self.features(images), *read).flatten(0, 1)
        wanted, count = int(place.sum()), 0 if made is None else len(made)
        if wanted != count:
            given = 0 if images is None else len(images)
            raise DataError(
                f"the text has {wanted} image placeholders, and {given} images make {count} tokens "
                f"({self.bridge.tokens} each); give one image for every {self.bridge.tokens} placeholders"
            )
        return vectors if made is None else vectors.masked_scatter(place[..., None], made.to(vectors.dtype))

    def stand_in(self, image: ImageRef) -> tuple[int, ...]:
        """The token ids that stand for an image in a prompt. Raises DataError where the spec names no placeholder."""
        if self.token is None:
            raise DataError("the model's spec names no placeholder for images (bridge.token)")
        return (self.token,) * int(self.bridge.tokens)
