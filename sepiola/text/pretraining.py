"""Plain text as samples of pretraining: documents in token ids, cut into windows or filled rows, and their noise."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from sepiola.data.batching import Ids, Noise, Row, Sample, fill_rows
from sepiola.data.example import Example
from sepiola.data.noise import Denoising, Masking, SpanCorruption
from sepiola.errors import DataError
from sepiola.specs.model import SpecialTokens
from sepiola.text.tokenizer import Tokenizer

MASKS = ("<mask>", "[MASK]")
SENTINELS = [f"<extra_id_{number}>" for number in range(100)]
_CLOSING = (".", "!", "?", "。", "！", "？", "\n")
_AT_ONCE = 1000  # documents that are Python lists at a time


def extra_tokens(objectives: Collection[str]) -> list[str]:
    """The tokens that a tokenizer must have for these objectives, beside the usual ones; T5's as T5 orders them."""
    masked = {"masked", "denoising"} & set(objectives)
    return [*(MASKS[:1] if masked else ()), *(reversed(SENTINELS) if "span-corruption" in objectives else ())]


def noise_of(objective: str, tokenizer: Tokenizer, tokens: SpecialTokens) -> Noise | None:
    """What the objective hides. Raises DataError when the tokenizer lacks a token that it needs."""
    if objective == "masked":
        mask = _mask(tokenizer, objective)
        return Masking(mask, tokenizer.vocabulary, frozenset((tokens.pad, tokens.start, tokens.end)))
    if objective == "span-corruption":
        ids = [i for i in map(tokenizer.id_of, SENTINELS) if i is not None]
        if not ids:
            raise DataError(f"the tokenizer has no sentinel {SENTINELS[0]}, which the objective {objective} needs")
        return SpanCorruption(ids, tokens.end)
    if objective == "denoising":
        closing = [tokenizer.decode([i]).rstrip(" \"'”’」』)").endswith(_CLOSING) for i in range(tokenizer.vocabulary)]
        return Denoising(_mask(tokenizer, objective), tokens.end, np.array(closing))
    return None


def is_plain(examples: Sequence[Example]) -> bool:
    """Whether these are plain documents: text that follows no prompt."""
    return all(not e.messages for e in examples)


def documents(examples: Sequence[Example], tokenizer: Tokenizer, tokens: SpecialTokens) -> list[tuple[str, Ids]]:
    """The id and the token ids of each document, the end token last."""
    found: list[tuple[str, Ids]] = []
    for start in range(0, len(examples), _AT_ONCE):
        some = examples[start : start + _AT_ONCE]
        for example, ids in zip(some, tokenizer.encode_batch([e.target for e in some], plain=True), strict=True):
            found.append((example.id, np.array([*ids, tokens.end])))
    return found


def pretraining_samples(
    examples: Sequence[Example],
    tokenizer: Tokenizer,
    tokens: SpecialTokens,
    *,
    window: int,
    packed: bool,
    seed: int = 0,
) -> list[Sample] | list[Row]:
    """Documents cut into windows of `window` tokens; packed, in rows of as many, filled to the last token."""
    found = documents(examples, tokenizer, tokens)
    if packed:
        return fill_rows(found, window, seed)
    return [part for document in found for row in fill_rows([document], window) for part in row.parts]


def _mask(tokenizer: Tokenizer, objective: str) -> int:
    for name in MASKS:
        found = tokenizer.id_of(name)
        if found is not None:
            return found
    raise DataError(f"the tokenizer has no mask ({' or '.join(MASKS)}), which the objective {objective} needs")
