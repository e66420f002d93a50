"""From an example's text to a sample of token ids."""

from __future__ import annotations

from collections.abc import Sequence

from sepiola.data.batching import Sample
from sepiola.data.example import Example
from sepiola.specs.model import SpecialTokens
from sepiola.text.tokenizer import Tokenizer


def encode(
    examples: Sequence[Example], tokenizer: Tokenizer, tokens: SpecialTokens, *, close: bool, eyes: bool = True
) -> list[Sample]:
    """The examples as samples. Targets end with the end token; `close` ends sources with it too (encoders).

    Without `eyes` the images are left out.
    """
    ending = (tokens.end,) if close else ()
    sources = tokenizer.encode_batch([e.prompt for e in examples])
    targets = tokenizer.encode_batch([e.target for e in examples])
    return [
        Sample(e.id, (*source, *ending), (*target, tokens.end), e.images if eyes else ())
        for e, source, target in zip(examples, sources, targets, strict=True)
    ]
