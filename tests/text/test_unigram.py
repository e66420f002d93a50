"""Unigram: pieces that make the text likeliest."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models

from sepiola.text import unigram
from sepiola.text.tokenizer import KINDS, Tokenizer
from tests.tiny import TEXTS


@pytest.fixture(scope="module")
def trained() -> dict[str, Tokenizer]:
    return {kind: Tokenizer.train(TEXTS * 3, 400, kind) for kind in KINDS}


def likelihood(scores: dict[str, float], word: str) -> float:
    """The best cut's log-probability, found by trying every cut."""
    cuts = (
        [0, *(i + 1 for i in range(len(word) - 1) if bits >> i & 1), len(word)] for bits in range(2 ** (len(word) - 1))
    )
    return max(sum(scores.get(word[a:b], -math.inf) for a, b in pairwise(cut)) for cut in cuts)


@given(
    st.dictionaries(st.text("abc", min_size=2, max_size=5), st.floats(-9, -1), max_size=12),
    st.text("abc", min_size=2, max_size=7),
)
def test_a_piece_is_replaced_by_the_likeliest_way_to_cut_it(scores: dict[str, float], piece: str) -> None:
    scores = {**dict.fromkeys("abc", -5.0), **scores}
    score, parts = unigram._without(piece, scores)
    assert len(parts) > 1 and "".join(parts) == piece
    assert math.isclose(score, sum(scores[part] for part in parts))
    assert math.isclose(score, likelihood({k: v for k, v in scores.items() if k != piece}, piece))


def test_unigram_makes_the_text_likelier_than_bpe_of_the_same_size(trained: dict[str, Tokenizer]) -> None:
    words = Counter(w for t in TEXTS * 3 for w, _ in trained["bpe"].backend.pre_tokenizer.pre_tokenize_str(t))
    scores = dict(json.loads(trained["unigram"].to_json())["model"]["vocab"][3:])
    assert math.isclose(sum(map(math.exp, scores.values())), 1)
    ids = [i for text in TEXTS * 3 for i in trained["bpe"].encode(text)]
    bpe = sum(n * math.log(n / len(ids)) for n in Counter(ids).values())
    cut = Backend(models.Unigram([("<unk>", 0.0), *scores.items()], 0))
    ours = sum(n * sum(scores[piece] for piece in cut.encode(word).tokens) for word, n in words.items())
    assert ours > bpe
