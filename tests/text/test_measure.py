"""Bytes per token: counted by hand, by language, and honest about what a tokenizer loses."""

from __future__ import annotations

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers

from sepiola.text.measure import measure
from sepiola.text.tokenizer import Tokenizer

PASSAGES = ["A squid.", "耳乌贼，big。", "Ещё один", "squid"]


def test_bytes_alone_pack_one_byte_a_token() -> None:
    found = measure(Tokenizer.train([], 259), PASSAGES)
    sizes = {"en": 13, "zh": len("耳乌贼，big。".encode()), "other": 15}
    assert found == {
        "vocabulary": 259,
        "languages": {k: {"bytes": n, "tokens": n, "bytes_per_token": 1.0} for k, n in sorted(sizes.items())},
        "lossless": 1.0,
    }


def test_words_that_are_lost_show() -> None:
    backend = Backend(models.WordLevel({"[UNK]": 0, "squid": 1, "a": 2, ".": 3}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.Fuse()
    found = measure(Tokenizer(backend), PASSAGES)
    assert found["languages"]["en"] == {"bytes": 13, "tokens": 4, "bytes_per_token": 3.25}
    assert found["lossless"] == 0.25


def test_no_text_gives_no_figure() -> None:
    assert measure(Tokenizer.train([], 259), []) == {"vocabulary": 259, "languages": {}, "lossless": None}
