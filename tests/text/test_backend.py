"""A `tokenizer.json` from anywhere is one message or a tokenizer, and never the end of the process."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sepiola.data.example import Message
from sepiola.errors import DataError
from sepiola.text.guard import Guard
from sepiola.text.tokenizer import Tokenizer

MODELS = {
    "no unknown token": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "none"},
    "no unknown piece": {"type": "Unigram", "unk_id": None, "vocab": [["a", -1.0]], "byte_fallback": False},
}
SPLIT = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}


def _replace(*pairs: tuple[str | dict[str, str], str]) -> dict[str, Any]:
    steps = [
        {"type": "Replace", "pattern": p if isinstance(p, dict) else {"String": p}, "content": c} for p, c in pairs
    ]
    return {"type": "Sequence", "normalizers": steps}


def _precompiled(table: str | None) -> dict[str, Any]:
    return {"type": "Precompiled", "precompiled_charsmap": table}


def _set(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda raw: raw.__setitem__(key, value)


def _token(index: object) -> Callable[[dict[str, Any]], None]:
    return lambda raw: raw["added_tokens"].append({**raw["added_tokens"][0], "content": "<new>", "id": index})


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "an id to count up to": (_token(1 << 31), "'<new>' has the id 2147483648; expected ids below"),
    "an id below 0": (_token(-1), "invalid value: integer `-1`"),
    "a word's id": (lambda raw: raw["model"]["vocab"].update(word=1 << 31), "'word' has the id 2147483648"),
    "replacements of replacements": (_set("normalizer", _replace(*[("a", "a" * 30)] * 8)), "more than 10,000 letters"),
    "replacements by expressions": (
        _set("normalizer", _replace(({"Regex": "."}, "b" * 300), ("b", "c" * 300))),
        "more than 10,000 letters",
    ),
    "one that is huge": (_set("normalizer", _replace(("a", "b" * 20_000))), "a replacement of 20,000 letters"),
    "no table": (_set("normalizer", _precompiled(None)), "precompiled_charsmap is damaged"),
    "a table of a wrong size": (_set("normalizer", _precompiled("/////w==")), "precompiled_charsmap is damaged"),
    "no JSON": (lambda raw: raw.clear(), "not a tokenizer.json that can be read"),
}


@pytest.fixture(scope="module")
def raw() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Tokenizer.train(["a squid 耳乌贼"], 270).to_json())
    return content


def _read(raw: dict[str, Any], folder: Path, change: Callable[[dict[str, Any]], None]) -> Tokenizer:
    changed = copy.deepcopy(raw)
    change(changed)
    (folder / "tokenizer.json").write_text(json.dumps(changed), encoding="utf-8")
    return Tokenizer.load(folder / "tokenizer.json")


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_end_the_process_is_refused(name: str, raw: dict[str, Any], tmp_path: Path) -> None:
    change, fault = REFUSED[name]
    with pytest.raises(DataError, match=f"tokenizer.json: .*{fault}"):
        _read(raw, tmp_path, change)


def test_many_replacements_that_follow_none_are_read(raw: dict[str, Any], tmp_path: Path) -> None:
    pairs = [(chr(0x2160 + n), "III" * 5) for n in range(16)]
    tokenizer = _read(raw, tmp_path, _set("normalizer", _replace(({"Regex": r"\s+"}, "▁"), *pairs)))
    assert tokenizer.decode(tokenizer.encode("Ⅻ")) == "III" * 5


@pytest.mark.parametrize("model", MODELS)
def test_what_the_library_cannot_read_is_one_message(model: str, raw: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = _read(raw, tmp_path, _set("model", MODELS[model]))
    for read in (tokenizer.encode, lambda text: tokenizer.encode_batch([text], plain=True)):
        with pytest.raises(DataError, match="the tokenizer cannot read this text"):
            read("hello")


def test_a_panic_of_the_library_is_one_message(raw: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = _read(raw, tmp_path, _set("pre_tokenizer", SPLIT))
    with pytest.raises(DataError, match=r"cannot read this text \(Onig: .*retry-limit"):
        tokenizer.encode("a" * 40 + "!")
    tokenizer = _read(raw, tmp_path, _set("decoder", {"type": "Strip", "content": "a", "start": 10**9, "stop": 10**9}))
    with pytest.raises(DataError, match="cannot write these token ids"):
        tokenizer.decode(tokenizer.encode("aaa"))


def test_ids_that_are_none_are_one_message(raw: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = _read(raw, tmp_path, lambda raw: None)
    for token in (-1, 1 << 40):
        with pytest.raises(DataError, match="cannot write these token ids"):
            tokenizer.decode([token])


def test_half_a_character_pair_is_one_message(raw: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = _read(raw, tmp_path, lambda raw: None)
    _, _, letters = Guard(tokenizer, ["</s>"]).mark([Message("user", ("</s>",))])
    for read in (
        tokenizer.encode,
        letters.encode,
        lambda text: tokenizer.encode_batch(["whole", text]),
        lambda text: tokenizer.encode_batch([text], plain=True),
    ):
        with pytest.raises(DataError, match=r"holds half a character pair \(\\ud83d after '耳乌贼'\)"):
            read("耳乌贼 \ud83d")
