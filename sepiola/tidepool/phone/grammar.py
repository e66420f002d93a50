"""Phrasing grammars: short patterns that stand for many sentences.

`[a|b|c]` is one of its alternatives (an empty one leaves it out; brackets nest), `{slot}` is filled with a value. A
template is one expansion of a pattern, slots and all: what a split has to itself. Typing errors touch only the words of
a template, never a value.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from sepiola.errors import DataError

_INNERMOST = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
SENTENCE = "= "  # begins a pattern that is a whole sentence, not an order ("send …") that a frame may put in

_PLACES = {0: "val", 1: "test"}  # of ten
_HOMOPHONES = str.maketrans("帮请的给个再在买订查吗那做", "邦情得给各在再卖定茶嘛哪作")


@dataclass(frozen=True)
class Template:
    """One expansion of a pattern. `sentence`: it stands alone and takes no frame but a greeting."""

    text: str
    sentence: bool = False

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Words and slots' names in turn, beginning and ending with words."""
        return tuple(_SLOT.split(self.text))

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots in their order."""
        return self.parts[1::2]


def expand(pattern: str) -> list[str]:
    """All expansions of a pattern, each once. Raises DataError for brackets that do not match."""
    match = _INNERMOST.search(pattern)
    if match is None:
        if "[" in pattern or "]" in pattern:
            raise DataError(f"phrasing {pattern!r}: a bracket has no partner; write [one|other]")
        return [pattern]
    begin, end = pattern[: match.start()], pattern[match.end() :]
    return list(dict.fromkeys(text for choice in match[1].split("|") for text in expand(begin + choice + end)))


def templates(patterns: Iterable[str]) -> list[Template]:
    """All templates of some patterns, each once, with single spaces."""
    found: dict[str, Template] = {}
    for pattern in patterns:
        sentence = pattern.startswith(SENTENCE)
        for expanded in expand(pattern.removeprefix(SENTENCE)):
            text = re.sub(" +", " ", expanded)
            found.setdefault(text, Template(text, sentence))
    return list(found.values())


def share_of(kind: str, text: str) -> str:
    """The split that a value belongs to: eight in ten to training, one each to validation and test."""
    number = int.from_bytes(hashlib.sha256(f"{kind} {text}".encode()).digest()[:4], "big") % 10
    return _PLACES.get(number, "train")


def of_split(found: Sequence[Template], split: str) -> list[Template]:
    """The templates of a split: of ten, in the order of their hashes, eight are for training."""
    ordered = sorted(found, key=lambda template: hashlib.sha256(template.text.encode()).digest())
    return [template for place, template in enumerate(ordered) if _PLACES.get(place % 10, "train") == split]


def mistyped(text: str, language: str, rng: random.Random) -> str:
    """The words with one typing error, where there is a place for one."""
    if language == "zh":
        places = [i for i, c in enumerate(text) if c.translate(_HOMOPHONES) != c]
        if not places:
            return text
        at = rng.choice(places)
        return text[:at] + text[at].translate(_HOMOPHONES) + text[at + 1 :]
    places = [i for i in range(1, len(text) - 2) if text[i - 1 : i + 2].isalpha() and text[i - 1 : i + 2].islower()]
    if not places:
        return text
    at = rng.choice(places)
    return text[:at] + rng.choice((text[at + 1] + text[at], text[at + 1], text[at] * 2 + text[at + 1])) + text[at + 2 :]
