"""CLINC150 (Larson et al., EMNLP 2019): what people ask of an assistant, in 150 intents, and requests of none of them.

`data_full.json` has 100 requests an intent to train on, `data_small.json` 50; `val` and `test` are the same. A request
of `val` or `test` that also stands in `train` is left out of `train` (five are). An intent is a call without
arguments, a request out of scope calls nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sepiola.data.example import Example, Message, Question
from sepiola.datasets.records import existing_folder, one_of, read_json
from sepiola.errors import DataError, shown

SPLITS = ["train", "val", "test"]
OUT_OF_SCOPE = "oos"


def read_clinc_oos(
    root: Path, split: str, *, size: Literal["full", "small"] = "full", out_of_scope: bool = True
) -> list[Example]:
    """Reads `<root>/data_<size>.json`. Its intents, and `oos` unless those requests are left out, are the choices.

    Raises DataError for a list that is absent and for an entry that is no request with an intent.
    """
    root = existing_folder(root, "CLINC150 (data_full.json, data_small.json)")
    one_of(split, SPLITS, "CLINC150")
    path = root / f"data_{size}.json"
    data = read_json(path)
    lists = {name: _rows(data, name, path) for name in (*SPLITS, *(f"oos_{name}" for name in SPLITS))}
    intents = sorted({intent for _, intent in lists["train"]})
    choices = (*intents, OUT_OF_SCOPE) if out_of_scope else tuple(intents)
    held_out = {text for name in lists if not name.endswith("train") for text, _ in lists[name]}
    examples = []
    for name in (split, f"oos_{split}")[: 1 + out_of_scope]:
        for number, (text, intent) in enumerate(lists[name]):
            if split == "train" and text in held_out:
                continue
            if intent not in choices:
                raise DataError(f"{path}: {name}, entry {number}: the intent {shown(intent)} is none of training's")
            examples.append(_example(f"clinc-{name}-{number}", text, intent, choices, split))
    return examples


def _example(identity: str, text: str, intent: str, choices: tuple[str, ...], split: str) -> Example:
    calls = [] if intent == OUT_OF_SCOPE else [{"name": intent, "arguments": {}}]
    metadata = {"split": split, "language": "en", "group": text, "intent": intent, "calls": calls,
                "irrelevant": not calls, "picture": "none"}  # fmt: skip
    question = Question(text, choices, choices.index(intent), hint="")
    return Example(identity, (Message("user", (text,)),), intent, question, metadata)


def _rows(data: object, name: str, path: Path) -> list[tuple[str, str]]:
    rows = data.get(name) if isinstance(data, dict) else None
    if not isinstance(rows, list):
        raise DataError(f"{path}: the list '{name}' is missing")
    for number, row in enumerate(rows):
        if not (isinstance(row, list) and len(row) == 2 and all(isinstance(part, str) and part for part in row)):
            raise DataError(f"{path}: {name}, entry {number}: expected [request, intent], got {shown(row)}")
    return [(text, intent) for text, intent in rows]
