"""Pairs of a picture and a text, as `sepiola curate` leaves them in a folder: `pairs.jsonl`, a pair a line, with `id`,
`image` (a path, from the folder or absolute), `request`, `text` and `language`.
"""

from __future__ import annotations

from pathlib import Path

from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.datasets.records import existing_folder, field, json_lines, one_of
from sepiola.errors import DataError, shown
from sepiola.specs.values import Names

PAIRS = "pairs.jsonl"


def read_pairs(root: Path, split: str, *, languages: Names = ("en", "zh")) -> list[Example]:
    """One Example a pair: the picture and the request in, the text out; all are for training.

    Raises DataError for a damaged line, an id that stands twice, another split, and when no pair is in these languages.
    """
    root = existing_folder(root, f"curated pairs ({PAIRS})")
    one_of(split, ["train"], "A folder of curated pairs")
    if isinstance(languages, str) or not languages:
        raise DataError(f"pairs: languages: expected a list such as [en, zh]; got {languages!r}")
    examples = []
    ids: set[str] = set()
    for number, record in enumerate(json_lines(root / PAIRS), start=1):
        where = f"{root / PAIRS}, pair {number}"
        name, image, request, text, language = (
            field(record, key, (str,), where) for key in ("id", "image", "request", "text", "language")
        )
        if name in ids:
            raise DataError(f"{where}: the id {shown(name)} stands in the file before")
        ids.add(name)
        if language not in languages:
            continue
        message = Message("user", (ImageRef(path=root / image), request))
        metadata = {"split": split, "language": language, "group": record.get("group") or name, "references": [text]}
        examples.append(Example(name, (message,), text, metadata=metadata))
    if not examples:
        raise DataError(f"{root / PAIRS}: no pair is in these languages: {', '.join(languages)}")
    return examples
