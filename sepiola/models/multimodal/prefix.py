"""Images as soft tokens: what the bridge makes of an image stands in the text where the prompt has placeholders.

So do LLaVA (arXiv 2310.03744), MiniGPT-4 (2304.10592), BLIP-2 (2301.12597) and SmolVLM (2504.05299). A decoder reads
images and text in one row; an encoder-decoder has them in its source.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.models.multimodal.vision_language import LanguageNetwork, VisionLanguageModel
from sepiola.models.transformer import DecodingState
from sepiola.models.vision.tiles import ImageTokens, Tiling
from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.specs.bridge import QueryTextSpec


class TokenBridge(nn.Module):
    """A bridge that makes tokens of the language model: features `(images, patches, image_width)` to `(images, tokens,
    width)`.

    Its forward also takes the images' sizes where the tiling needs them, and instructions where it reads some.
    """

    tokens: int
    instructed: QueryTextSpec | None = None
    """What it reads of the messages beside the images, if it reads them."""
    first: bool = False
    """Whether images stand before all of a prompt's text, its start token too."""


class PrefixModel(VisionLanguageModel):
    """`token` is the placeholder's id; `tokens` of the bridge say how many of them an image takes, and `tiling` how
    many images a large picture is.
    """

    language: LanguageNetwork
    bridge: TokenBridge

    def __init__(
        self, language: LanguageNetwork, bridge: TokenBridge, vision: VisionEncoder, token: int | None, tiling: Tiling
    ) -> None:
        super().__init__(language, bridge, vision)
        self.token = token
        self.tiling = tiling

    def states(
        self,
        tokens: Tensor,
        *target: Tensor,
        images: Tensor | None = None,
        image_sizes: Tensor | None = None,
        instructions: Tensor | None = None,
        **masks: Tensor | None,
    ) -> Tensor:
        """The language model's final states, the head not yet applied; `images` stand where the placeholders are.

        Raises DataError when placeholders and image tokens are not as many.
        """
        embedded = self.embed(tokens, images, image_sizes, instructions)
        return self.language.states(embedded, *target, **masks)

    def begin(
        self,
        tokens: Tensor,
        capacity: int,
        *,
        images: Tensor | None = None,
        image_sizes: Tensor | None = None,
        instructions: Tensor | None = None,
        **masks: Tensor | None,
    ) -> DecodingState:
        """A decoding state that has read the prompt; see the language model's `begin`."""
        embedded = self.embed(tokens, images, image_sizes, instructions)
        return self.language.begin(embedded, capacity, **masks)

    def embed(
        self,
        tokens: Tensor,
        images: Tensor | None = None,
        image_sizes: Tensor | None = None,
        instructions: Tensor | None = None,
    ) -> Tensor:
        """Vectors `(batch, tokens, width)` with the images' in the placeholders' stead; see `sizes`.

        `instructions` `(images, tokens)` are what a bridge reads beside each image (InstructBLIP).
        """
        vectors: Tensor = self.language.embedding(tokens)
        place = tokens == (-1 if self.token is None else self.token)
        more = (image_sizes,) if self.tiling.sized else () if instructions is None else (instructions,)
        made = None if images is None else self.bridge(self.features(images), *more).flatten(0, 1)
        wanted, count = int(place.sum()), 0 if made is None else len(made)
        if wanted != count:
            given = 0 if images is None else len(images)
            raise DataError(
                f"the text has {wanted} image placeholders, and {given} images make {count} tokens "
                f"({self.bridge.tokens} each); give one image for every {self.bridge.tokens} placeholders"
            )
        return vectors if made is None else vectors.masked_scatter(place[..., None], made.to(vectors.dtype))

    @property
    def instructed(self) -> QueryTextSpec | None:
        return self.bridge.instructed

    @property
    def first(self) -> bool:
        return self.bridge.first

    def image_tokens(self, images: Sequence[ImageRef]) -> list[ImageTokens]:
        """For each picture of one prompt what stands for it there: token ids, and text (marks) to be encoded.

        Raises DataError where the spec names no placeholder.
        """
        if self.token is None:
            raise DataError("the model's spec names no placeholder for images (bridge.token)")
        return self.tiling.image_tokens(images, self.token, self.bridge.tokens)

    def sizes(self, images: Sequence[ImageRef]) -> Tensor | None:
        return self.tiling.sizes(images)
