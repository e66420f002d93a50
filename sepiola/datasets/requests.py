"""Requests whose calls are known, one's own or made for one's own functions: a folder with `train.jsonl`, `val.jsonl`
and `test.jsonl`, a request a line.

A line has `text` and `calls`, a list of `{"name": …, "arguments": {…}}`, empty where nothing is to be called; and it
may have `id`, `image` (a path from the folder), `language` and whatever else, which is kept.
"""

from __future__ import annotations

from pathlib import Path

from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.data.language import language_of
from sepiola.datasets.records import existing_folder, field, json_lines, one_of
from sepiola.errors import DataError, shown

SPLITS = ["train", "val", "test"]
IMAGE = "image"


def read_requests(root: Path, split: str) -> list[Example]:
    """One Example a request, with its calls. Raises DataError for a damaged line, and an id that stands before."""
    root = existing_folder(root, "requests (train.jsonl, val.jsonl, test.jsonl)")
    path = root / f"{one_of(split, SPLITS, 'A folder of requests')}.jsonl"
    examples: list[Example] = []
    ids: set[str] = set()
    for number, record in enumerate(json_lines(path), start=1):
        where = f"{path}, request {number}"
        text, calls = field(record, "text", (str,), where), field(record, "calls", (list,), where)
        for call in calls:
            if not isinstance(call, dict) or not isinstance(call.get("name"), str):
                raise DataError(f"{where}: a call is an object with 'name' and 'arguments', got {shown(call)}")
            field(call, "arguments", (dict,), f"{where}, {call['name']}")
        name = str(record.get("id", f"{split}-{number:06d}"))
        if name in ids:
            raise DataError(f"{where}: the id {shown(name)} stands in the file before")
        ids.add(name)
        pictures = (ImageRef(path=root / field(record, IMAGE, (str,), where)),) if IMAGE in record else ()
        kept = {key: value for key, value in record.items() if key not in ("id", "text", IMAGE)}
        about = {"split": split, "language": language_of(text), "picture": "needed" if pictures else "none"}
        examples.append(Example(name, (Message("user", (*pictures, text)),), "", metadata={**about, **kept}))
    if not examples:
        raise DataError(f"{path}: no request")
    return examples
