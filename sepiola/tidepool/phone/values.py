"""Open values of a split: names, goods, messages, composed of words and of words that are made up.

The split of a value is a hash of the value itself, so that a name, dish or message of the test split stands in no
training request, in whichever argument it might have stood.
"""

from __future__ import annotations

import random
import re
from types import ModuleType

from sepiola.tidepool.phone import lexicon_en, lexicon_zh
from sepiola.tidepool.phone.grammar import share_of

_LEXICONS: dict[str, ModuleType] = {"en": lexicon_en, "zh": lexicon_zh}
_WORD = re.compile(r"\{(\w+)\}")
_QUOTES = {"en": ('"{}"', "'{}'"), "zh": ("“{}”", "「{}」", '"{}"')}


def open_value(kind: str, language: str, split: str, rng: random.Random) -> str:
    """A value of the split: `kind` is one of the lexicon's `VALUES`."""
    lexicon = _LEXICONS[language]
    while True:
        pattern = rng.choice(lexicon.VALUES[kind])
        value = _WORD.sub(lambda slot: _word(slot[1], language, rng), pattern)
        if share_of("value", value) == split:
            return value


def number_value(length: int, split: str, rng: random.Random) -> str:
    """A string of digits of the split."""
    while True:
        value = str(rng.randrange(10 ** (length - 1), 10**length))
        if share_of("value", value) == split:
            return value


def quoted(value: str, language: str, rng: random.Random) -> str:
    """The value as a text has it: mostly bare, else in quotation marks."""
    return value if rng.random() < 0.7 or '"' in value or "'" in value else rng.choice(_QUOTES[language]).format(value)


def plural(language: str, count: int, noun: str) -> str:
    """The noun as it stands after its count."""
    if language == "zh" or count == 1:
        return noun
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    return noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"


def _word(name: str, language: str, rng: random.Random) -> str:
    lexicon = _LEXICONS[language]
    if name in lexicon.WORDS:
        return str(rng.choice(lexicon.WORDS[name]))
    if name == "number":
        return str(rng.randint(11, 999))
    if name == "letter":
        return rng.choice("ABCDEFGHKLMNPRSTUVWX")
    count = 1 if name == "made1" else 2 if language == "zh" else rng.choice((2, 2, 3))
    made = "".join(rng.choice(lexicon.WORDS["syllable"]) for _ in range(count))
    return made.capitalize() if name == "Made" else made
