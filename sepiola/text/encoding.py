"""From an example's text to a sample of token ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sepiola.data.batching import Ids, Sample
from sepiola.data.example import Example
from sepiola.data.image import ImageRef
from sepiola.specs.bridge import QueryTextSpec
from sepiola.specs.model import SpecialTokens
from sepiola.text.layouts import Layout
from sepiola.text.tokenizer import Tokenizer

IMAGE = "<image>"
"""The placeholder in a tokenizer of our own."""

StandIn = Callable[[ImageRef], Sequence[int]]
"""The token ids that stand for an image in a prompt."""


def encode(
    examples: Sequence[Example],
    tokenizer: Tokenizer,
    tokens: SpecialTokens,
    *,
    close: bool,
    eyes: bool = True,
    stand_in: StandIn | None = None,
    placeholder: int | None = None,
    instructed: QueryTextSpec | None = None,
    reader: Tokenizer | None = None,
    layout: Layout | None = None,
) -> list[Sample]:
    """The examples as samples. Targets end with the end token; `close` ends sources with it too (encoders).

    Without `eyes` the images are left out. With `stand_in` each image has its tokens where it stands among the text,
    of which `placeholder` is never cut. Where the bridge is `instructed` it reads the messages too, as `reader` (by
    default the tokenizer) encodes them. A `layout` lays messages out anew.
    """
    ending = (tokens.end,) if close else ()
    instructions: Sequence[Ids] = [()] * len(examples)
    if instructed is not None and eyes:
        instructions = _instructions(examples, reader or tokenizer, instructed)
    beginning: tuple[int, ...] = ()
    if layout is not None:
        examples = [layout.apply(example) for example in examples]
        beginning = () if close else (tokens.start,)
    if stand_in is not None and eyes:
        sources, kept = _interleaved(examples, tokenizer, stand_in), placeholder
    else:
        sources, kept = tokenizer.encode_batch([e.prompt for e in examples]), None
    targets = tokenizer.encode_batch([e.target for e in examples])
    return [
        Sample(e.id, (*beginning, *source, *ending), (*target, tokens.end), e.images if eyes else (), kept, instruction)
        for e, source, target, instruction in zip(examples, sources, targets, instructions, strict=True)
    ]


def placing(model: Any) -> dict[str, Any]:
    """What `encode` must know of a model that places images in its text; nothing for another."""
    if not getattr(model, "placed", False):
        return {}
    return {"stand_in": model.stand_in, "placeholder": model.token, "instructed": instructed(model)}


def instructed(model: Any) -> QueryTextSpec | None:
    """What the model's bridge reads of the messages beside the images, if it reads them."""
    bridge: Any = getattr(getattr(model, "bridge", None), "spec", None)
    found: QueryTextSpec | None = bridge.text if getattr(bridge, "instructed", False) else None
    return found


def _instructions(examples: Sequence[Example], tokenizer: Tokenizer, spec: QueryTextSpec) -> list[Ids]:
    """The messages' text for the bridge, between its own tokens and no longer than it may be."""
    encoded = tokenizer.encode_batch([example.prompt for example in examples], plain=True)
    return [(spec.start, *ids[: spec.length - 2], spec.end) for ids in encoded]


def _interleaved(examples: Sequence[Example], tokenizer: Tokenizer, stand_in: StandIn) -> list[list[int]]:
    """Text and images in their order; a placeholder's name that a user writes is text."""
    parts = [_parts(example) for example in examples]
    encoded = iter(tokenizer.encode_batch([p for row in parts for p in row if isinstance(p, str)], plain=True))
    return [
        [token for part in row for token in (stand_in(part) if isinstance(part, ImageRef) else next(encoded))]
        for row in parts
    ]


def _parts(example: Example) -> list[str | ImageRef]:
    """The messages' content, one turn after the other on lines of their own; neighbouring texts are one."""
    parts: list[str | ImageRef] = []
    for number, message in enumerate(example.messages):
        for part in (*(("\n",) if number else ()), *message.content):
            if isinstance(part, str) and parts and isinstance(last := parts[-1], str):
                parts[-1] = last + part
            else:
                parts.append(part)
    return parts
