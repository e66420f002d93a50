"""Phrases are looked up in a table of the user's, from any of its languages into any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepiola.errors import DataError
from sepiola.reasoning.toolset.translator import Translator

TABLE = (
    "en\tzh\tfr\nHello\t你好\tBonjour\ngood morning\t早上好\t\nhello\t您好\tSalut\nin a box\t在盒子里\tdans une boîte\n"
)


@pytest.fixture
def translate(tmp_path: Path) -> Translator:
    (tmp_path / "phrases.tsv").write_text(TABLE, encoding="utf-8")
    return Translator.load(tmp_path / "phrases.tsv")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("hello in French", ["Bonjour", "Salut"]),
        ("How do you say “Hello!” in Chinese?", ["你好", "您好"]),
        ("in a box into French", ["dans une boîte"]),
        ("你好用法语怎么说？", ["Bonjour"]),
        ("「早上好」的英语是什么", ["good morning"]),
        ("Bonjour to English", ["Hello"]),
        ("good morning in French", []),  # the table does not say
        ("hello in German", []),
        ("goodbye in French", []),
        ("hello", []),
        ("1+1", []),
    ],
)
def test_phrases(text: str, found: list[str], translate: Translator) -> None:
    assert translate(text) == found


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ("", "expected a first line"),
        ("en\tklingon\n", "klingon"),
        ("en\n", "two or more"),
        ("en\tzh\na\n", "line 2: 1 columns"),
    ],
)
def test_a_damaged_table_is_named(table: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text(table, encoding="utf-8")
    with pytest.raises(DataError, match=fault):
        Translator.load(tmp_path / "p.tsv")
