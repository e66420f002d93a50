"""Which language a text is in, of the two that this project speaks."""

from __future__ import annotations

import re
from typing import Literal

Language = Literal["en", "zh", "other"]
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LATIN = re.compile(r"[A-Za-z]")


def language_of(text: str) -> Language:
    """`zh` or `en` where most of the letters, counted in bytes, are Chinese or plain Latin ones; else `other`."""
    letters = "".join(filter(str.isalpha, text))
    han, latin = (len("".join(kind.findall(letters)).encode()) for kind in (_HAN, _LATIN))
    half = len(letters.encode()) / 2
    return "zh" if han > half else "en" if latin > half else "other"
