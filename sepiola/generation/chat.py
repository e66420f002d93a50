"""A conversation with a model, over the engine: turns with pictures in, the assistant's next turn out.

The prompt is the checkpoint's own chat template with each picture's placeholders where the template sets the picture,
so its token ids are those of the Hub's processors. A checkpoint without a template gets a plain one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from sepiola.data.example import Message
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.generation.engine import Engine, Prompt
from sepiola.generation.example_generator import ImageEncoder
from sepiola.generation.sampling import Sampling
from sepiola.generation.stopping import Stop
from sepiola.text.chat import DEFAULT, ChatTemplate
from sepiola.text.encoding import InterleavedImages
from sepiola.text.tokenizer import Tokenizer

PLAIN = (
    "{% for message in messages %}{{ message.role | capitalize }}: {% for part in message.content %}"
    "{{ image_token if part.type == 'image' else part.text }}{% endfor %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)


@dataclass(frozen=True)
class ChatReply:
    """A turn's text, how many tokens were read and written, and the seconds to the first of these and to the last."""

    text: str
    prompt_tokens: int
    tokens: int
    first_token_seconds: float
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """The rate at which tokens came after the first."""
        return (self.tokens - 1) / max(self.seconds - self.first_token_seconds, 1e-9) if self.tokens > 1 else 0.0


class Chat:
    """One model with its tokenizer and template. `image_encoder` turns pictures into what the model takes; None is
    blind.

    What it makes of the pictures of the last call is kept, for conversations go on.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        template: ChatTemplate | None = None,
        image_encoder: ImageEncoder | None = None,
    ) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.image_encoder = image_encoder
        token = engine.images.token if engine.images is not None else None
        self.place = None if token is None else tokenizer.name_of(token)
        self.template = template or ChatTemplate({DEFAULT: PLAIN}, {"image_token": self.place or ""})
        self.ends = self._ends(template)
        self._encoded: tuple[tuple[ImageRef, ...], Tensor] | None = None

    def reply(
        self,
        messages: Sequence[Message],
        max_tokens: int = 512,
        sampling: Sampling | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> ChatReply:
        """The next turn of a conversation; `on_text` is given the text piece by piece.

        Raises DataError when pictures and their places do not match, and for pictures that a blind model is shown.
        """
        began = time.perf_counter()
        prompt = self.prompt(messages)
        stop = Stop(self.tokenizer, ends=self.ends, on_text=None if on_text is None else without_indent(on_text))
        row, first = stop(), 0.0

        def ends_with(token: int) -> bool:
            nonlocal first
            first = first or time.perf_counter() - began
            return row(token)

        written = self.engine.generate([prompt], max_tokens=max_tokens, sampling=sampling, stop=lambda: ends_with)[0][0]
        row.close()
        text = stop.text(written).strip()
        return ChatReply(text, len(prompt.tokens), len(written), first, time.perf_counter() - began)

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """The conversation as the engine takes it."""
        images = tuple(part for m in messages for part in m.content if isinstance(part, ImageRef))
        if images and self.image_encoder is None:
            raise DataError("the conversation shows pictures, and this model has no vision encoder; leave them out")
        placed = self.engine.images
        if placed is None:
            messages = [Message(m.role, (m.text,)) for m in messages]
        text = self.template.render(messages)
        sizes = None
        if placed is not None:
            text, sizes = self._with_image_tokens(text, images, placed), placed.sizes(images)
        begin = self.template.special_tokens.get("bos_token")
        framed = placed is not None and not (begin and text.startswith(begin))
        ids = self.tokenizer.encode(text, framed=framed) + ([] if self.engine.causal else [self.engine.tokens.end])
        return Prompt(ids, self._encode_images(images), sizes)

    def _with_image_tokens(self, text: str, images: Sequence[ImageRef], placed: InterleavedImages) -> str:
        """The text with the whole run of each picture where the template names the placeholder."""
        if self.place is None:
            raise DataError(f"the tokenizer has no token {placed.token}, which stands for images")
        head, *rest = text.split(self.place)
        if len(rest) != len(images):
            raise DataError(
                f"the conversation has {len(images)} pictures, and its text {len(rest)} places for them "
                f"({self.place}): no text may name the placeholder, and the chat template must know pictures"
            )
        runs = placed.image_tokens(images) if images else []
        names = ("".join(part if isinstance(part, str) else self.place for part in run) for run in runs)
        return head + "".join(run + part for run, part in zip(names, rest, strict=True))

    def _encode_images(self, images: tuple[ImageRef, ...]) -> Tensor | None:
        if not images or self.image_encoder is None:
            return None
        if self._encoded is None or self._encoded[0] != images:
            self._encoded = images, self.image_encoder(images)
        return self._encoded[1]

    def _ends(self, template: ChatTemplate | None) -> frozenset[int]:
        """The model's end tokens, the tokenizer's, and the special token that the template sets after a turn."""
        ends: set[int | None] = set(self.engine.ends)
        if template is not None:
            ends.add(self.tokenizer.id_of(template.special_tokens.get("eos_token", "")))
            after = self.tokenizer.encode(template.turn_end())[:1]
            ends.update(token for token in after if self.tokenizer.is_special(token))
        return frozenset(end for end in ends if end is not None)


def without_indent(on_text: Callable[[str], None]) -> Callable[[str], None]:
    """Gives pieces of text on, without the spaces before the first letter."""
    begun = False

    def give(piece: str) -> None:
        nonlocal begun
        piece = piece if begun else piece.lstrip()
        if piece:
            begun = True
            on_text(piece)

    return give
