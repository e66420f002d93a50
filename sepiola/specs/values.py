"""Types of values that specs share: names that become folders, seeds, and sizes with the most that makes sense."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from sepiola.errors import shown

NAME_BYTES = 100
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{kind}{n}" for kind in ("COM", "LPT") for n in range(1, 10))}
_SEPARATORS = '/\\:*?"<>|'


def check_name(name: str) -> str:
    """`name` itself, when it can be that of one file or folder anywhere. Raises ValueError."""
    fault = None
    if not name:
        fault = "is empty"
    elif any(c in _SEPARATORS or unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in name):
        fault = f"holds a control character or one of {' '.join(_SEPARATORS)}"
    elif name[0] in ".-~ " or name[-1] in ". ":
        fault = "begins with one of . - ~ or a space, or ends with a dot or a space"
    elif name.partition(".")[0].rstrip().upper() in _DEVICES:
        fault = "is that of a device on Windows"
    elif len(name.encode()) > NAME_BYTES:
        fault = f"takes {len(name.encode()):,} bytes, more than {NAME_BYTES}"
    if fault is not None:
        raise ValueError(f"the name {shown(name)} {fault}; it names a folder: give it letters, digits, spaces, - or _")
    return name


Name: TypeAlias = Annotated[str, AfterValidator(check_name)]
"""The name of a run, an arm, a stage, a dataset or a split: part of a file's or a folder's name, and never a path."""


def folded(name: str) -> str:
    """What two names have in common that some file systems take for one: in capitals or not, composed or not."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _each_once(names: Sequence[str]) -> Sequence[str]:
    if len(set(names)) != len(names):
        raise ValueError(f"expected each once, got {shown(list(names))}")
    return names


Names: TypeAlias = Annotated[Sequence[str], Field(min_length=1), AfterValidator(_each_once)]
"""One or more texts, each once."""

Seed: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 63)]
Layers: TypeAlias = Annotated[int, Field(ge=1, le=1024)]
Heads: TypeAlias = Annotated[int, Field(ge=1, le=1 << 14)]
Width: TypeAlias = Annotated[int, Field(ge=1, le=1 << 20)]
Vocabulary: TypeAlias = Annotated[int, Field(ge=1, le=1 << 24)]
TokenId: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 24)]
Tokens: TypeAlias = Annotated[int, Field(ge=1, le=1 << 24)]
"""A length in tokens."""

Side: TypeAlias = Annotated[int, Field(ge=1, le=1 << 13)]
"""A side of a picture, in pixels."""

Drawn: TypeAlias = Annotated[int, Field(ge=1, le=10_000_000)]
"""So many examples or pictures, made on the spot."""
