"""Plain text as samples of pretraining: documents in token ids, in windows or filled rows; the tokens of noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sepiola.data.batching import Row, Sample, fill_rows
from sepiola.data.cutting import Ids, compact
from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.specs.model import SpecialTokens
from sepiola.text.tokenizer import Tokenizer

MASKS = ("<mask>", "[MASK]")
SENTINELS = [f"<extra_id_{number}>" for number in range(100)]
_CLOSING = (".", "!", "?", "。", "！", "？", "\n")
_AT_ONCE = 1000  # documents that are Python lists at a time


def mask_token(tokenizer: Tokenizer, objective: str) -> int:
    """The id of the tokenizer's mask. Raises DataError, which names the objective, when it has none."""
    for name in MASKS:
        mask = tokenizer.id_of(name)
        if mask is not None:
            return mask
    raise DataError(f"the tokenizer has no mask ({' or '.join(MASKS)}), which the objective {objective} needs")


def closing_tokens(tokenizer: Tokenizer) -> np.ndarray:
    """Which tokens end a sentence `(vocabulary,)`."""
    return np.array(
        [tokenizer.decode([i]).rstrip(" \"'”’」』)").endswith(_CLOSING) for i in range(tokenizer.vocabulary)]
    )


def is_plain(examples: Sequence[Example]) -> bool:
    """Whether these are plain documents: text that follows no prompt."""
    return all(not e.messages for e in examples)


def documents(examples: Sequence[Example], tokenizer: Tokenizer, tokens: SpecialTokens) -> list[tuple[str, Ids]]:
    """The id and the token ids of each document, the end token last."""
    rows: list[tuple[str, Ids]] = []
    for start in range(0, len(examples), _AT_ONCE):
        some = examples[start : start + _AT_ONCE]
        for example, ids in zip(some, tokenizer.encode_batch([e.target for e in some], plain=True), strict=True):
            rows.append((example.id, compact([*ids, tokens.end])))
    return rows


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
    encoded = documents(examples, tokenizer, tokens)
    if packed:
        return fill_rows(encoded, window, seed)
    return [part for document in encoded for row in fill_rows([document], window) for part in row.parts]
