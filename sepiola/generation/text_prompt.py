"""From a text as it stands, and pictures, to a prompt: the token ids that the Hub's tokenizer or processor gives.

The tokenizer frames the text (start and end tokens), an encoder's text ends with one end token, and each picture has
its tokens where the text names the placeholder. Where it names none, pictures stand before the text; a Q-Former's
always do, before the start token too, as BLIP-2's processor has it. And back: what is written after it, as text.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from torch import Tensor

from sepiola.calling.constraints import Grammar
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.generation.engine import Engine, Prompt
from sepiola.generation.image_features import ImageEncoder
from sepiola.generation.sampling import Sampling
from sepiola.generation.stopping import Ending, Stop
from sepiola.text.encoding import InterleavedImages, ids_of, instruction
from sepiola.text.guard import Letters
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer

log = logging.getLogger(__name__)


class TextPrompts:
    """Prompts of one model. `image_encoder` turns pictures into what the model takes; None is blind.

    What it makes of the pictures of the last prompt is kept, for conversations go on.
    """

    def __init__(
        self, engine: Engine, processor: Processor, tokenizer: Tokenizer, image_encoder: ImageEncoder | None = None
    ) -> None:
        self.engine = engine
        self.processor = processor
        self.tokenizer = tokenizer
        self.image_encoder = image_encoder
        token = engine.images.token if engine.images is not None else None
        self.place = None if token is None else tokenizer.name_of(token)
        self._encoded: tuple[tuple[ImageRef, ...], Tensor] | None = None

    def prompt(
        self,
        text: str,
        images: Sequence[ImageRef] = (),
        *,
        framed: bool = True,
        placed: bool = False,
        letters: Letters | None = None,
    ) -> Prompt:
        """The prompt of a text; `framed` has the tokenizer's own tokens around it, and where it is `placed` the text
        must name the placeholder of each picture. `letters` are the names of control tokens that it marks as letters.

        Raises DataError when pictures and their places do not match, and for pictures that a blind model is shown.
        """
        images = tuple(images)
        if images and self.image_encoder is None:
            raise DataError("the prompt shows pictures, and this model has no vision encoder; leave them out")
        layout = self.engine.images
        if layout is None:
            ids = self._ids(text, framed, letters)
            return Prompt(ids, self._encode_images(images))
        read: tuple[int, ...] = ()
        before: list[int] = []
        parts = self._parts(text, images, layout, placed)
        if layout.first:
            text = "".join(parts)
            runs = layout.image_tokens(images) if images else []
            before = [token for run in runs for token in ids_of(run, self.tokenizer)]
        else:
            text = self._with_image_tokens(parts, images, layout)
        if layout.instructed is not None and images:
            own = self.processor.qformer_tokenizer
            asked = "".join(parts) if letters is None else letters.restore("".join(parts))
            read = instruction(asked, own or self.tokenizer, layout.instructed, framed=own is not None)
        ids = [*before, *self._ids(text, framed, letters)]
        return Prompt(ids, self._encode_images(images), layout.sizes(images), read)

    def _ids(self, text: str, framed: bool, letters: Letters | None) -> list[int]:
        """The text's ids; an encoder's end with the end token, which stands there once."""
        ids, tokens = (letters or self.tokenizer).encode(text, framed=framed), self.engine.tokens
        return ids if self.engine.causal or ids[-1:] == [tokens.end] else [*ids, tokens.end]

    def _parts(self, text: str, images: Sequence[ImageRef], layout: InterleavedImages, placed: bool) -> Sequence[str]:
        """What the text says before, between and after its pictures."""
        if self.place is None:
            if images and layout.token is not None:
                raise DataError(f"the tokenizer has no token {layout.token}, which stands for images")
            return [text]
        parts = text.split(self.place)
        if len(parts) == 1 and images and not placed:
            return [*[""] * len(images), text]
        if len(parts) != len(images) + 1:
            what = "conversation" if placed else "prompt"
            raise DataError(
                f"the {what} has {len(images)} pictures, and its text {len(parts) - 1} places for them "
                f"({self.place}): no text may name the placeholder, and the chat template must know pictures"
            )
        return parts

    def _with_image_tokens(self, parts: Sequence[str], images: Sequence[ImageRef], layout: InterleavedImages) -> str:
        """The text with the whole run of each picture in its place."""
        runs = layout.image_tokens(images) if images else []
        place = self.place or ""
        names = ["".join(part if isinstance(part, str) else place for part in run) for run in runs]
        return parts[0] + "".join(run + part for run, part in zip(names, parts[1:], strict=True))

    def _encode_images(self, images: tuple[ImageRef, ...]) -> Tensor | None:
        if not images or self.image_encoder is None:
            return None
        if self._encoded is None or self._encoded[0] != images:
            self._encoded = images, self.image_encoder(images)
        return self._encoded[1]

    def warn_of_length(self, length: int) -> None:
        """Warns of a prompt of so many tokens, which is read whole, where the model was made to read less."""
        context = self.processor.context
        if context is not None and length > context and self.engine.spec.positions.kind != "learned":
            log.warning("the prompt has %d tokens; the model was made to read %d: it may fail", length, context)


def generate_text(
    prompts: TextPrompts,
    text: str,
    images: Sequence[ImageRef],
    ending: Ending,
    *,
    room: Callable[[int], int],
    sampling: Sampling | None,
    grammar: Grammar | None = None,
) -> str:
    """What the model writes after a text, spaces and all, up to an end token or a stop string: the checkpoint's, or one
    of `ending`.

    Under a grammar, what it allows, special tokens and all.

    `room` says how many tokens may follow a prompt of so many. Raises DataError as `TextPrompts.prompt` does, and
    SepiolaError for an ending that is asked under a grammar.
    """
    ending.check_free(grammar)
    prompt = prompts.prompt(text, images)
    prompts.warn_of_length(len(prompt.tokens))
    strings = (*prompts.processor.generation.stop_strings, *ending.strings)
    stop = Stop(prompts.tokenizer, strings=strings, on_text=ending.on_text, whole=prompts.engine.rewrites)
    most = room(len(prompt.tokens))
    written = prompts.engine.generate([prompt], max_tokens=most, sampling=sampling, stop=stop, grammar=grammar)[0][0]
    stop.close()
    return stop.text(written) if grammar is None else grammar.text(written)
