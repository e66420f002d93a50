"""From an example's text to token ids, and the cut when it is longer than the model may read."""

from __future__ import annotations

from collections.abc import Sequence

from sepiola.data.example import Example
from sepiola.specs.model import SpecialTokens
from sepiola.text.tokenizer import Tokenizer


def encode_prompts(
    examples: Sequence[Example], tokenizer: Tokenizer, tokens: SpecialTokens, limit: int, *, close: bool
) -> list[list[int]]:
    """Token ids of the examples' prompts, at most `limit` each; `close` ends them with the end token (encoders).

    A prompt that is too long loses its middle: its question stands at the head and its cue ("Answer:") at the tail.
    """
    ending = [tokens.end] if close else []
    return [cut([*ids, *ending], limit) for ids in tokenizer.encode_batch([e.prompt for e in examples])]


def encode_targets(
    texts: Sequence[str], tokenizer: Tokenizer, tokens: SpecialTokens, limit: int
) -> list[list[int]]:
    """Token ids of target texts, at most `limit` each, closed by the end token unless cut."""
    return [[*ids, tokens.end][:limit] for ids in tokenizer.encode_batch(list(texts))]


def cut(ids: list[int], limit: int) -> list[int]:
    """The ids themselves, or the first three quarters and the last quarter of `limit`."""
    if len(ids) <= limit:
        return ids
    tail = limit // 4
    return ids[: limit - tail] + ids[len(ids) - tail :]
