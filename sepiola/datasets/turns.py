"""Turns that were written down before: `.jsonl` files of `sepiola data rate`, one turn a line.

A line has `messages` as OpenAI writes them, the turn that follows last, and may have an `id`, a `split` (by default
`train`), a `language`, a `group` and what people or models say of it, `ratings`, each 0 or 1. `harmful` says of a
request whether it is to be refused.
"""

from __future__ import annotations

from pathlib import Path

from sepiola.data.example import Example, Message
from sepiola.data.language import language_of
from sepiola.datasets.records import existing_folder, field, json_lines, one_of
from sepiola.errors import DataError, shown
from sepiola.specs.base import Plain

SPLITS = ["train", "val", "test"]
ROLES = ("system", "user", "assistant")
KEPT = ("group", "dialogue", "category", "harmful", "ratings", "rated_by")


def read_turns(root: Path, split: str) -> list[Example]:
    """Reads every `.jsonl` file of a folder. Raises DataError for a line that is no turn after another."""
    root = existing_folder(root, "turns (.jsonl)")
    one_of(split, SPLITS, "turns")
    examples = []
    for path in sorted(root.glob("*.jsonl")):
        for number, record in enumerate(json_lines(path, "messages"), start=1):
            example = _example(record, f"{path}, line {number}", f"{path.stem}-{number}")
            if example.metadata["split"] == split:
                examples.append(example)
    return examples


def written(example: Example) -> Plain:
    """The line of an example."""
    messages = [{"role": message.role, "content": message.text} for message in example.messages]
    kept = {key: example.metadata[key] for key in ("split", "language", *KEPT) if key in example.metadata}
    return {"id": example.id, "messages": [*messages, {"role": "assistant", "content": example.target}], **kept}


def _example(record: Plain, where: str, identity: str) -> Example:
    said = field(record, "messages", (list,), where)
    turns = [_turn(turn, where) for turn in said]
    if len(turns) < 2 or not turns[-1].text.strip():
        raise DataError(f"{where}: 'messages' is {shown(said)}; expected a turn and the one that follows")
    language = record.get("language") or ("zh" if language_of(turns[-1].text) == "zh" else "en")
    metadata = {"split": record.get("split", "train"), "language": language}
    metadata |= {key: record[key] for key in KEPT if key in record}
    return Example(str(record.get("id", identity)), tuple(turns[:-1]), turns[-1].text, metadata=metadata)


def _turn(turn: object, where: str) -> Message:
    if not isinstance(turn, dict) or turn.get("role") not in ROLES or not isinstance(turn.get("content"), str):
        raise DataError(f"{where}: a turn is {shown(turn)}; expected its role ({', '.join(ROLES)}) and content, a text")
    return Message(turn["role"], (turn["content"],))
