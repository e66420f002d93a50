"""A translator the size of a phrase book: a table of phrases, one language a column, from a file of the user's.

The file has tab-separated columns under a first line of languages (`en`, `zh`, `fr` …). `hello in French` and
`你好用法语怎么说` look a phrase up in every column; what is not in the table is not translated.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from sepiola.datasets.records import read_file
from sepiola.errors import DataError

LANGUAGES: Mapping[str, tuple[str, ...]] = {
    "en": ("english", "英语", "英文"),
    "zh": ("chinese", "mandarin", "中文", "汉语", "普通话"),
    "fr": ("french", "法语", "法文"),
    "de": ("german", "德语", "德文"),
    "es": ("spanish", "西班牙语"),
    "it": ("italian", "意大利语"),
    "pt": ("portuguese", "葡萄牙语"),
    "ru": ("russian", "俄语"),
    "ja": ("japanese", "日语", "日文"),
    "ko": ("korean", "韩语"),
}
"""Languages by their codes, and how people call them."""
_CALLED = {name: code for code, names in LANGUAGES.items() for name in names}
_ASKING = r"(?:(?:how (?:do (?:you|i) )?say|translate|what is)\s+)?"
_ENGLISH = re.compile(rf"{_ASKING}(.+?)\s+(?:in|into|to)\s+(\w+)\s*[?.]?", re.IGNORECASE)
_NAMED = "|".join(name for name in _CALLED if not name.isascii())
_CHINESE = re.compile(rf"(.+?)\s*(?:翻译成|译成|用|的)\s*({_NAMED})(?:怎么说|是什么)?[?？。]?")


class Translator:
    """Looks phrases up. Equal phrases with several translations give each of them once, in the table's order."""

    def __init__(self, languages: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.languages = tuple(languages)
        self.rows: dict[str, list[Sequence[str]]] = {}
        for row in rows:
            for phrase in {*map(_key, row)} - {""}:
                self.rows.setdefault(phrase, []).append(row)

    @classmethod
    def load(cls, path: Path) -> Translator:
        """Reads a phrase table. Raises DataError for a column that is no known language, and for a ragged line."""
        lines = [line.split("\t") for line in read_file(path).splitlines() if line.strip()]
        languages = [name.strip() for name in lines[0]] if lines else []
        if len(languages) < 2 or not {*languages} <= LANGUAGES.keys() or len({*languages}) < len(languages):
            known = ", ".join(LANGUAGES)
            raise DataError(f"{path}: expected a first line of two or more of {known}, tabs between; got {languages}")
        for number, row in enumerate(lines[1:], start=2):
            if len(row) != len(languages):
                raise DataError(f"{path}, line {number}: {len(row)} columns; the first line has {len(languages)}")
        return cls(languages, [[cell.strip() for cell in row] for row in lines[1:]])

    def __call__(self, text: str) -> list[str]:
        found = _ENGLISH.fullmatch(text.strip()) or _CHINESE.fullmatch(text.strip())
        code = _CALLED.get(found[2].lower()) if found else None
        if found is None or code not in self.languages:
            return []
        column = self.languages.index(code)
        rows = self.rows.get(_key(found[1].strip("\"'“”「」")), [])
        return list(dict.fromkeys(row[column] for row in rows if row[column]))


def _key(phrase: str) -> str:
    """What two ways to write a phrase have in common."""
    return " ".join(unicodedata.normalize("NFKC", phrase).casefold().split()).strip(" .!?。！？,，")
