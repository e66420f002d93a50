"""A conversation with a model, over the engine: turns with pictures in, the assistant's next turn out.

The prompt is the checkpoint's own chat template with each picture's placeholders where the template sets the picture,
so its token ids are those of the Hub's processors. A checkpoint without a template gets a plain one. Only what the
template writes is a control token: names of such tokens in a message's text are letters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sepiola.data.example import Message
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.generation.engine import Engine, Prompt
from sepiola.generation.image_features import ImageEncoder
from sepiola.generation.sampling import Sampling
from sepiola.generation.stopping import Stop, stop_strings
from sepiola.generation.text_prompt import TextPrompts
from sepiola.text.conversation import Conversations, reply_ids, without_pictures
from sepiola.text.guard import GuardedText, Tools
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer

REPLY = 512
"""Tokens of a reply at most, where neither the caller nor the checkpoint says it."""


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
    """One model with its processor. `image_encoder` turns pictures into what the model takes; None is blind."""

    def __init__(
        self, engine: Engine, processor: Processor, tokenizer: Tokenizer, image_encoder: ImageEncoder | None = None
    ) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.prompts = TextPrompts(engine, processor, tokenizer, image_encoder)
        self.conversations = Conversations(tokenizer, processor.template, self.prompts.place)
        self.template = self.conversations.template
        self.generation = processor.generation
        self.ends = self.conversations.ends(engine.ends)

    def reply(
        self,
        messages: Sequence[Message],
        max_tokens: int | None = None,
        sampling: Sampling | None = None,
        on_text: Callable[[str], None] | None = None,
        *,
        stops: str | Sequence[str] | None = (),
        tools: Tools | None = None,
    ) -> ChatReply:
        """The next turn of a conversation; `on_text` is given the text piece by piece.

        It ends at an end token, or before one of `stops` or of the checkpoint's own stop strings.

        Without `max_tokens` it is as long as the checkpoint says, or REPLY. Raises DataError when pictures and their
        places do not match, and for pictures that a blind model is shown.
        """
        began = time.perf_counter()
        strings = (*self.generation.stop_strings, *stop_strings(stops))
        prompt = self.prompt(messages, tools)
        self.prompts.warn_of_length(len(prompt.tokens))
        give = None if on_text is None else without_indent(on_text)
        stop = Stop(self.tokenizer, strings=strings, ends=self.ends, on_text=give, whole=self.engine.rewrites)
        first = 0.0

        def timed() -> Callable[[int], bool]:
            row = stop()

            def ends_with(token: int) -> bool:
                nonlocal first
                first = first or time.perf_counter() - began
                return row(token)

            return ends_with

        if max_tokens is None:
            max_tokens = self.generation.room(len(prompt.tokens) if self.engine.causal else 1, REPLY)
        written = self.engine.generate([prompt], max_tokens=max_tokens, sampling=sampling, stop=timed)[0][0]
        stop.close()
        text = stop.text(written).strip()
        return ChatReply(text, len(prompt.tokens), len(written), first, time.perf_counter() - began)

    def prompt(self, messages: Sequence[Message], tools: Tools | None = None) -> Prompt:
        """The conversation as the engine takes it, with the `tools` that it declares.

        A template writes the start token itself; where there is none, and where it did not for a model that sees, the
        tokenizer sets it.
        """
        images = tuple(part for m in messages for part in m.content if isinstance(part, ImageRef))
        if images and self.prompts.image_encoder is None:
            raise DataError("the conversation shows pictures, and this model has no vision encoder; leave them out")
        sees = self.engine.images is not None
        if not sees:
            messages = without_pictures(messages)
        self.conversations.check_tools(messages, tools)
        (text,), letters = self.conversations.laid_out(messages, tools=tools)
        begin = self.template.special_tokens.get("bos_token")
        framed = self.conversations.bare or (sees and not (begin and text.startswith(begin)))
        return self.prompts.prompt(text, images, framed=framed, placed=True, letters=letters)

    def text(self, messages: Sequence[Message]) -> GuardedText:
        """A conversation without pictures, laid out for the assistant's next turn.

        Raises DataError where the template refuses it or takes its text for control tokens or pictures.
        """
        (text,), letters = self.conversations.laid_out(messages)
        if self.prompts.place is not None and self.prompts.place in text:
            raise DataError(
                f"a text names {self.prompts.place}, which stands for pictures, and shows none: leave it out"
            )
        return GuardedText(text, letters)

    def reply_ids(self, messages: Sequence[Message], reply: str) -> list[int]:
        """Token ids of a reply as the template sets it after the conversation, with the token that ends it."""
        if self.engine.images is None:
            messages = without_pictures(messages)
        return reply_ids(self.conversations, self.ends, self.engine.tokens.end, messages, reply)


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
