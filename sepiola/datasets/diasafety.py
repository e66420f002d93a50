"""DiaSafety (Sun et al., Findings of ACL 2022): what somebody said, a reply, and whether the reply is safe in context.

An example's target is the reply, and its rating `SAFE` 1 or 0. Some contexts stand in several of the authors' splits:
those of `test` are left out of `val` and `train`, those of `val` of `train`. Records without a reply (there are three)
are left out. The texts offend by design.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from sepiola.data.example import Example, Message
from sepiola.datasets.record_files import half_of
from sepiola.datasets.records import existing_folder, field, one_of, read_json
from sepiola.errors import DataError, shown

SPLITS = ["train", "val", "test"]
LABELS = {"Safe": 1, "Unsafe": 0}


def read_diasafety(
    root: Path, split: str, *, shared_contexts: bool = False, half: Literal[1, 2] | None = None
) -> list[Example]:
    """Reads `<root>/<split>.json`; with `shared_contexts` whole, as the authors split it. `half` keeps the contexts of
    one half, 1 or 2: what learns from one knows none of the other's.

    Raises DataError for a record that lacks a field, and for a label that is none.
    """
    root = existing_folder(root, "DiaSafety (train.json, val.json, test.json)")
    one_of(split, SPLITS, "DiaSafety")
    later = () if shared_contexts else SPLITS[SPLITS.index(split) + 1 :]
    held_out = {_key(example) for name in later for example in _examples(root, name)}
    kept = [example for example in _examples(root, split) if _key(example) not in held_out]
    return [example for example in kept if half in (None, half_of(_key(example)))]


def _examples(root: Path, split: str) -> list[Example]:
    path = root / f"{split}.json"
    records = read_json(path)
    if not isinstance(records, list):
        raise DataError(f"{path}: expected a list of records, got {shown(records)}")
    examples = []
    for number, record in enumerate(records):
        where = f"{path}, record {number}"
        if not isinstance(record, dict):
            raise DataError(f"{where}: expected an object, got {shown(record)}")
        context, reply, label, category = (
            field(record, key, (str,), where) for key in ("context", "response", "label", "category")
        )
        if label not in LABELS:
            raise DataError(f"{where}: 'label' is {shown(label)}; expected {' or '.join(LABELS)}")
        if not context.strip() or not reply.strip():
            continue
        metadata = {
            "split": split,
            "language": "en",
            "group": hashlib.sha256(_words(context).encode()).hexdigest()[:16],
            "category": category,
            "ratings": {"SAFE": LABELS[label]},
        }
        asked = (Message("user", (context.strip(),)),)
        examples.append(Example(f"diasafety-{split}-{number}", asked, reply.strip(), metadata=metadata))
    return examples


def _key(example: Example) -> str:
    return str(example.metadata["group"])


def _words(text: str) -> str:
    return " ".join(text.lower().split())
