"""How well held-out text is compressed, in bits per byte of its UTF-8: the measure of a language model that does not
depend on its tokenizer, and what an n-gram model and `xz` make of the same text.

A model that predicts a text is a compressor of it (Shannon, 1948): its code takes -log2 p bits a token. Divided by the
bytes of the text, models with different tokenizers, and programs that compress, stand on one scale.
"""

from __future__ import annotations

import lzma
import math
from collections.abc import Callable, Mapping, Sequence

from sepiola.errors import DataError
from sepiola.evaluation.baselines.ngrams import Tokens, ngram_bits

_WINDOWS = (4 << 10, 1536 << 20)
"""The least and the most that liblzma takes, in bytes."""


def bits_per_byte(nats: float, bytes: int) -> float:
    """A loss summed over a text (natural logarithms, as torch gives it) in bits per byte of the text.

    Raises DataError when the text has no bytes.
    """
    if bytes < 1:
        raise DataError("bits per byte of an empty text: expected at least one held-out document that is not empty")
    return nats / math.log(2) / bytes


def text_bytes(documents: Sequence[str]) -> int:
    """UTF-8 bytes of the documents together."""
    return sum(len(document.encode()) for document in documents)


def xz_bits(held_out: Sequence[str], train: Sequence[str] = ()) -> float:
    """Bits that `xz -9e` needs for the held-out documents, each ended by a zero byte as a model ends it by a token.

    With `train`, what they add to the compressed training documents: xz then has seen the same text as a model that
    was trained on it. Its window holds all of it, up to 1.5 GiB. Two passes of about 1.4 seconds a megabyte.
    """
    seen, text = _joined(train), _joined(held_out)
    window = len(seen) + len(text)
    before = _xz_size(seen, window) if seen else 0
    return 8.0 * (_xz_size(seen + text, window) - before)


def baselines(
    train: Mapping[str, Sequence[str]],
    held_out: Mapping[str, Sequence[str]],
    encode: Callable[[Sequence[str]], Sequence[Tokens]],
    vocabulary: int,
    order: int = 5,
) -> dict[str, dict[str, float]]:
    """Bits per byte of the held-out documents of each language, by language and baseline.

    Baselines: "unigram" and f"{order}-gram" over the token ids that `encode` gives for documents (the end-of-document
    token included), "xz" of the held-out text alone, and "xz after training text". Each learns from the training
    documents of that language.

    Raises DataError when a held-out language has no text or is absent from `train`, or an id is outside the vocabulary.
    """
    result = {}
    for language, documents in held_out.items():
        if not (size := text_bytes(documents)):
            raise DataError(f"no held-out text in '{language}'; expected at least one document that is not empty")
        if language not in train:
            raise DataError(f"no training documents for '{language}'; expected a list, which may be empty")
        known = train[language]
        known_tokens, tokens = encode(known), encode(documents)
        bits = {
            "unigram": ngram_bits(known_tokens, tokens, vocabulary, 1),
            f"{order}-gram": ngram_bits(known_tokens, tokens, vocabulary, order),
            "xz": xz_bits(documents),
            "xz after training text": xz_bits(documents, known),
        }
        result[language] = {name: value / size for name, value in bits.items()}
    return result


def _joined(documents: Sequence[str]) -> bytes:
    return b"".join(document.encode() + b"\0" for document in documents)


def _xz_size(data: bytes, window: int) -> int:
    least, most = _WINDOWS
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": min(max(window, least), most)}]
    return len(lzma.compress(data, filters=filters))
