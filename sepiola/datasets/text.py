"""Plain text for tokenizers and language models: every `.txt` and `.txt.gz` under a folder, cut into documents.

A document is a run of paragraphs of one file, about as long as asked. Which split it falls into is decided by its own
text. A paragraph of which half has been read before (a poem under another title, a licence) is dropped, so that
held-out text does not stand in the training text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sepiola.data.corpus import gathered
from sepiola.data.example import Example
from sepiola.data.language import language_of
from sepiola.datasets.records import existing_folder, one_of, read_file
from sepiola.errors import DataError

SPLITS = ["train", "validation", "test"]
_LICENCE = re.compile(r"\A.*?\*\*\* ?START OF[^\n]*\n|\n\*\*\* ?END OF.*\Z", re.DOTALL)  # Project Gutenberg's
_LABEL = re.compile(r"\t\d+$", re.MULTILINE)  # `headline<TAB>class`, as THUCNews writes it
_PARAGRAPH = re.compile(r"\n[ \t\r\u3000]*\n\s*")
REPEATED = 32  # characters from which on a paragraph is kept once; shorter ones may well recur


def read_text(
    root: Path,
    split: str,
    characters: Annotated[int, Field(ge=1, le=1 << 24)] = 2000,
    held_out: Annotated[int, Field(ge=3, le=1 << 32)] = 100,
) -> list[Example]:
    """Documents of about `characters` characters, the language of each in its metadata, its text the `target`.

    One document of `held_out` is for `test`, one for `validation`. Raises DataError when there is no text.
    """
    one_of(split, SPLITS, "text")
    root = existing_folder(root, ".txt or .txt.gz files")
    files = sorted(path for path in root.rglob("*") if path.name.endswith((".txt", ".txt.gz")))
    examples: list[Example] = []
    known_lines: set[bytes] = set()
    others = 0
    for path in files:
        if path.name == "SOURCE.txt":
            continue
        name = str(path.relative_to(root))
        paragraphs = _paragraphs(_read(path), characters, known_lines)
        for number, document in enumerate(gathered(paragraphs, characters, "\n")):
            place = int.from_bytes(_digest(document)[:8], "big") % held_out
            if {0: "test", 1: "validation"}.get(place, "train") == split:
                metadata = {"split": split, "language": language_of(document), "group": name}
                examples.append(Example(f"{name}:{number}", (), document, metadata=metadata))
            else:
                others += 1
    if others and not examples:
        raise DataError(
            f"{root}: no text for the split '{split}': none of its {others} documents of about {characters} characters "
            f"falls into it, where one of {held_out} does; give more text, a smaller held_out (from 3 on) or fewer "
            "characters, or another split"
        )
    if not examples:
        raise DataError(f"{root}: no text for the split '{split}'; give a folder that holds .txt or .txt.gz files")
    return examples


def _read(path: Path) -> str:
    return _LABEL.sub("", _LICENCE.sub("", read_file(path).replace("\r\n", "\n")))


def _paragraphs(text: str, characters: int, known_lines: set[bytes]) -> Iterator[str]:
    """What blank lines part; the lines of one that is too long. Those that came before are left out."""
    for block in _PARAGRAPH.split(text):
        for paragraph in [block] if len(block) <= characters else block.split("\n"):
            lines = {_digest(line): len(line) for line in paragraph.split("\n") if line.strip()}
            length = sum(lines.values())
            again = sum(characters for digest, characters in lines.items() if digest in known_lines)
            if length >= REPEATED:
                known_lines.update(lines)
            if lines and (length < REPEATED or 2 * again < length):
                yield paragraph.strip("\n")


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
