"""Trained tokenizers: any text comes back, the same text gives the same file, and words end where they should."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import decoders
from transformers import PreTrainedTokenizerFast

from sepiola.errors import DataError, SpecError
from sepiola.text.tokenizer import KINDS, Tokenizer
from tests.tiny import TEXTS

SPECIAL = ["<pad>", "</s>", "<unk>"]
# What hypothesis alone would seldom draw: spaces at the ends, mixed line ends, emoji of several points.
SPACES = ["  ", "\r\n", "\r", "\n\n", "\t", "\0", "\u3000"]
RARE = ["👩\u200d👩\u200d👧", "🇨🇳", "é", "e\u0301", "𠀀", "，", "中文", "don't", "Ġ", "▁", "<0x41>"]
HARD = st.lists(st.sampled_from(SPACES + RARE) | st.text(max_size=4)).map("".join)


@pytest.fixture(scope="module")
def trained() -> dict[str, Tokenizer]:
    return {kind: Tokenizer.train(TEXTS * 3, 400, kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_the_vocabulary_is_laid_out_as_promised(trained: dict[str, Tokenizer], kind: str) -> None:
    tokenizer = trained[kind]
    assert tokenizer.vocabulary == 400
    assert [tokenizer.backend.token_to_id(name) for name in SPECIAL] == [0, 1, 2]
    assert len(tokenizer.encode("🦑")) == 4  # unseen, so byte by byte
    assert tokenizer.decode([0, *tokenizer.encode("大 eyes"), 1]) == "大 eyes"
    assert len(tokenizer.encode(" squid")) == 1 and len(tokenizer.encode("耳乌贼")) <= 2


@pytest.mark.parametrize("kind", KINDS)
@given(text=HARD)
@example(text="  two spaces before, three behind   ")
def test_any_text_comes_back_as_it_was(trained: dict[str, Tokenizer], kind: str, text: str) -> None:
    tokenizer = trained[kind]
    ids = tokenizer.encode(text)
    assert 2 not in ids or "<unk>" in text
    if not any(name in text for name in SPECIAL):
        assert tokenizer.decode(ids) == text
    assert tokenizer.backend.decode(ids, skip_special_tokens=False) == text


def test_the_same_text_gives_the_same_file_in_another_process() -> None:
    """Python's and the library's hash seeds differ from process to process."""
    code = (
        "import hashlib, json, sys; from sepiola.text.tokenizer import Tokenizer; texts = json.load(sys.stdin)\n"
        "files = [Tokenizer.train(texts, 500, kind).to_json() for kind in ('bpe', 'unigram')]\n"
        "print(*(hashlib.sha256(file.encode()).hexdigest() for file in files))"
    )
    texts = TEXTS * 2
    there = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(texts),
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    here = [hashlib.sha256(Tokenizer.train(iter(texts), 500, kind).to_json().encode()).hexdigest() for kind in KINDS]
    assert there == here


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("She'll say: \"I don't!\"", ["She", "'ll", " say", ":", ' "', "I", " don", "'t", '!"']),
        ("他说：“很好，3只。”", ["他说", "：“", "很好", "，", "3", "只", "。”"]),
        ("用GPT模型 训练", ["用", "GPT", "模型", " 训练"]),
        ("a  b\n\n  c\r\n1234", ["a", " ", " b", "\n\n", " ", " c", "\r\n", "1", "2", "3", "4"]),
        ("end.\nnext；\n下一行 \n", ["end", ".\n", "next", "；\n", "下一行", " \n"]),
        ("नमस्ते दुनिया", ["नमस्ते", " दुनिया"]),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_words_end_where_they_should(trained: dict[str, Tokenizer], kind: str, text: str, words: list[str]) -> None:
    cut = trained[kind].backend.pre_tokenizer.pre_tokenize_str(text)
    assert [decoders.ByteLevel().decode([word]) for word, _ in cut] == words


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_reads_the_file_alike(trained: dict[str, Tokenizer], kind: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(trained[kind].to_json(), encoding="utf-8")
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(path))
    for text in (*TEXTS, "全新的 words\u3000🦑</s>"):
        assert theirs(text)["input_ids"] == Tokenizer.load(path).encode(text) == trained[kind].encode(text)


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="a vocabulary of 258 tokens; the 256 bytes and 3 special tokens need 259"):
        Tokenizer.train(TEXTS, 258)
    with pytest.raises(SpecError, match="no kind of tokenizer is named 'unigramm'; did you mean 'unigram'"):
        Tokenizer.train(TEXTS, 400, "unigramm")
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(DataError, match=r"t\.json: not a tokenizer\.json"):
        Tokenizer.load(tmp_path / "t.json")


def test_threads_share_a_tokenizer() -> None:
    """While some read the names of special tokens as letters, the others still read them as tokens."""
    tokenizer = Tokenizer.train(TEXTS, 400, extra=["<|im_end|>"])
    text = "大 eyes</s><|im_end|>"
    expected = {
        plain: Tokenizer.train(TEXTS, 400, extra=["<|im_end|>"]).encode_batch([text], plain=plain)[0]
        for plain in (False, True)
    }
    assert expected[False] != expected[True]

    def wrong(plain: bool) -> int:
        read = (tokenizer.encode_batch([text], plain=plain)[0] for _ in range(2000))
        return sum(ids != expected[plain] for ids in read)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(wrong, [False, True, False, True])) == [0, 0, 0, 0]


def test_a_token_added_later_is_plain_text_too() -> None:
    tokenizer = Tokenizer.train(TEXTS, 400)
    tokenizer.encode_batch(["<mark>"], plain=True)
    added = tokenizer.with_token("<mark>").id_of("<mark>")
    assert tokenizer.encode("<mark>") == [added]
    assert added not in tokenizer.encode_batch(["<mark>"], plain=True)[0]
