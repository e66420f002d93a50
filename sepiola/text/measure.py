"""How well a tokenizer packs text: bytes per token, by language; the more, the better."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TypedDict

from sepiola.data.language import language_of
from sepiola.text.tokenizer import Tokenizer


class Packing(TypedDict):
    """A tokenizer's figures: of each language its `bytes`, `tokens` and `bytes_per_token`."""

    vocabulary: int
    languages: dict[str, dict[str, float]]
    lossless: float | None


def measure(tokenizer: Tokenizer, passages: Iterable[str]) -> Packing:
    """Bytes, tokens and bytes per token of each language that the passages are in.

    `lossless` is the share of passages that the tokens give back character for character: what a tokenizer throws away
    (unknown characters, case, spaces) costs no token, so figures below 1 flatter it.
    """
    by_language: dict[str, list[str]] = defaultdict(list)
    for passage in passages:
        by_language[language_of(passage)].append(passage)
    figures: dict[str, dict[str, float]] = {}
    whole = 0
    for language, texts in sorted(by_language.items()):
        rows = tokenizer.encode_batch(texts)
        size, tokens = sum(len(text.encode()) for text in texts), sum(map(len, rows))
        figures[language] = {"bytes": size, "tokens": tokens, "bytes_per_token": size / max(tokens, 1)}
        decoded = tokenizer.backend.decode_batch(rows, skip_special_tokens=False)
        whole += sum(a == b for a, b in zip(texts, decoded, strict=True))
    count = sum(map(len, by_language.values()))
    return {"vocabulary": tokenizer.vocabulary, "languages": figures, "lossless": whole / count if count else None}
