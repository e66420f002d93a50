"""Bits per byte: the unit, xz with and without the training text, and the baselines on real English and Chinese."""

from __future__ import annotations

import gzip
import lzma
import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from sepiola.errors import DataError
from sepiola.evaluation.baselines.compression import baselines, bits_per_byte, text_bytes, xz_bits
from sepiola.evaluation.baselines.ngrams import ngram_bits
from sepiola.text.tokenizer import END, Tokenizer

POEM = "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。 The squid hides in the sand by day and swims by night."


def byte_ids(documents: Sequence[str]) -> list[list[int]]:
    return [[*document.encode(), 256] for document in documents]


def test_one_unit_for_models_and_programs() -> None:
    assert bits_per_byte(math.log(256), 1) == pytest.approx(8)
    assert bits_per_byte(10 * math.log(2), 5) == pytest.approx(2)
    assert text_bytes(["日", "day", ""]) == 6
    with pytest.raises(DataError, match="empty text"):
        bits_per_byte(1.0, 0)


def test_a_model_that_knows_nothing_pays_for_every_token_and_every_end() -> None:
    bits = ngram_bits([], byte_ids([POEM, "日"]), vocabulary=257)
    assert bits == pytest.approx((text_bytes([POEM, "日"]) + 2) * math.log2(257))


def test_xz_alone_is_what_xz_writes() -> None:
    documents = [POEM, POEM[::-1]]
    written = lzma.compress(b"".join(d.encode() + b"\0" for d in documents), preset=9 | lzma.PRESET_EXTREME)
    assert xz_bits(documents) == 8 * len(written)


def test_xz_remembers_training_text_however_far_back() -> None:
    noise = random.Random(0).randbytes(30_000).hex()
    assert xz_bits([POEM], [POEM, noise]) < 0.2 * xz_bits([POEM])
    assert xz_bits([POEM], [noise]) > 0.5 * xz_bits([POEM])


def test_baselines_refuse_a_language_without_text() -> None:
    with pytest.raises(DataError, match="no held-out text in 'zh'"):
        baselines({"zh": [POEM]}, {"zh": [""]}, byte_ids, 257)
    with pytest.raises(DataError, match="no training documents for 'zh'"):
        baselines({"en": [POEM]}, {"zh": [POEM]}, byte_ids, 257)


def test_baselines_on_real_text(data_root: Path) -> None:
    train, held_out = {}, {}
    for language, name in (("en", "tinyshakespeare"), ("zh", "song_ci")):
        path = data_root / "text" / language / f"{name}.txt.gz"
        documents = gzip.decompress(path.read_bytes())[:400_000].decode(errors="ignore").split("\n\n")
        train[language], held_out[language] = documents[20:], documents[:20]
    tokenizer = Tokenizer.train([d for documents in train.values() for d in documents], 2048)
    end = tokenizer.backend.token_to_id(END)

    def encode(documents: Sequence[str]) -> list[list[int]]:
        return [[*tokens, end] for tokens in tokenizer.encode_batch(documents)]

    result = baselines(train, held_out, encode, tokenizer.vocabulary, order=3)
    assert list(result) == ["en", "zh"]
    for language, bits in result.items():
        assert list(bits) == ["unigram", "3-gram", "xz", "xz after training text"]
        # A trigram model of a little text lies between these, in both languages.
        assert 1.5 < bits["3-gram"] < bits["unigram"] < 4.5, language
        assert bits["3-gram"] < bits["xz after training text"] < bits["xz"], language
