"""Tidepool's small vocabulary in English and Chinese: colours, shapes, fills, places, and lists.

Scenes hold language-neutral keys ("red", "left", 3); only here do they become words. `SLOTS` is the way
back, from words to keys, for reading statements out of a model's text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

Key = str | int

LANGUAGES = ("en", "zh")
COLOURS = ("red", "yellow", "green", "blue", "purple", "black")
SHAPES = ("circle", "square", "triangle", "star", "heart")
FILLS = ("plain", "striped", "dotted")
SIDES = ("left", "right", "up", "down")
RELATIONS = {
    "left": "on its left",
    "right": "on its right",
    "up": "above it",
    "down": "below it",
}  # English only

_CHINESE: dict[str, str] = {
    "red": "红色", "yellow": "黄色", "green": "绿色", "blue": "蓝色", "purple": "紫色", "black": "黑色",
    "circle": "圆形", "square": "正方形", "triangle": "三角形", "star": "星形", "heart": "心形",
    "plain": "没有花纹", "striped": "有条纹", "dotted": "有圆点",
    "left": "左边", "right": "右边", "up": "上边", "down": "下边", "middle": "中间",
    "top": "上面", "bottom": "下面",
    "north": "北", "south": "南", "east": "东", "west": "西",
    "attract": "相互吸引", "repel": "相互排斥",
}  # fmt: skip

# Words a model may use although no scene holds them: they are understood, so that they can be found false.
_FOREIGN_COLOURS = {
    "en": {name: name for name in ("orange", "pink", "white", "gray", "grey", "brown")},
    "zh": {"橙": "orange", "粉": "pink", "白": "white", "灰": "gray", "棕": "brown"},
}
_FOREIGN_SHAPES = {
    "en": {name: name for name in ("diamond", "rectangle", "oval", "cross")},
    "zh": {"菱形": "diamond", "长方形": "rectangle", "椭圆形": "oval", "十字形": "cross"},
}
_NUMERALS = {
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "zh": ("零", "一", "二", "三", "四", "五", "六", "七", "八", "九"),
}


def word(language: str, key: Key) -> str:
    """The word for a key in a language; numbers are written in digits."""
    return _CHINESE.get(str(key), str(key)) if language == "zh" else str(key)


def plural(language: str, count: int, noun: str) -> str:
    """The noun as it stands after `count`; Chinese nouns do not change."""
    return noun if language == "zh" or count == 1 else noun + "s"


def join(language: str, parts: Sequence[str]) -> str:
    """A list as a sentence has it: "a, b and c"; in Chinese "a，b，c"."""
    if language == "zh":
        return "，".join(parts)
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _words(language: str, keys: Sequence[str]) -> dict[str, str]:
    return {word(language, key): key for key in keys}


def _slots(language: str) -> dict[str, dict[str, str]]:
    colours = _words(language, COLOURS)
    if language == "zh":
        colours = {name.removesuffix("色"): key for name, key in colours.items()} | {"灰": "gray"}
    numerals = {numeral: str(n) for n, numeral in enumerate(_NUMERALS[language])}
    return {
        "colour": colours | _FOREIGN_COLOURS[language],
        "shape": _words(language, SHAPES) | _FOREIGN_SHAPES[language],
        "fill": _words(language, FILLS),
        "side": _words(language, SIDES),
        "place": _words(language, ("left", "middle", "right")),
        "pair": _words(language, ("top", "bottom")),
        "relation": {text: side for side, text in RELATIONS.items()},
        "number": numerals | ({"两": "2"} if language == "zh" else {}),
    }


SLOTS: dict[str, dict[str, dict[str, str]]] = {language: _slots(language) for language in LANGUAGES}


def slot_pattern(language: str, slot: str) -> str:
    """A regular expression with one group for any word of `slot` in `language`."""
    words = "|".join(re.escape(w) for w in sorted(SLOTS[language][slot], key=len, reverse=True))
    if slot == "number":
        words = r"\d+|" + words
    if language == "en":
        return rf"\b({words})s?\b" if slot == "shape" else rf"\b({words})\b"
    return rf"({words})色?的?" if slot == "colour" else f"({words})"


def slot_key(language: str, slot: str, text: str) -> str:
    """The key that a matched word stands for; digits stand for themselves, without leading zeros."""
    return SLOTS[language][slot].get(text) or text.lstrip("0") or "0"


@lru_cache
def facts(language: str) -> re.Pattern[str]:
    """Any word of the vocabulary, or a number: what states a fact."""
    words = {word for slot in SLOTS[language].values() for word in slot}
    ordered = "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))
    return re.compile(rf"\b(?:\d+|{ordered})(?=s?\b)" if language == "en" else rf"\d+|{ordered}")
