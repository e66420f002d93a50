"""Instructions and conversations in the shapes that people share them in, known by their keys.

Alpaca (`instruction`, `input`, `output`, `history`), BELLE, COIG, seed tasks, ShareGPT (`conversations` of `from` and
`value`), OpenAI's `messages` (texts or lists of parts, `tool_calls`), LLaVA (`<image>` and a path), dialogues as lists
of texts, and whatever LLaMA-Factory's `dataset_info.json` describes. A conversation is one Example: its last reply is
the target, and `replies` in its metadata says which earlier messages are replies that are learned too.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sepiola.data.example import Example
from sepiola.data.image import ImageRef
from sepiola.data.language import language_of
from sepiola.datasets.conversations import Conversation, UnusableError, checked, conversation_of
from sepiola.datasets.record_files import check_split, record_sets, report, split_of
from sepiola.errors import DataError
from sepiola.specs.values import Names

LETTERS = 400  # of each turn, by which a conversation's language is known
WHAT = "instructions (.json, .jsonl, or LLaMA-Factory's dataset_info.json with its files)"


def read_instructions(
    root: Path,
    split: str,
    *,
    sets: Names | None = None,
    languages: Names | None = None,
    held_out: Annotated[int, Field(ge=3, le=1 << 32)] = 20,
    images: str | None = None,
) -> list[Example]:
    """One Example a conversation of the sets that are named, or of all that `root` holds, a file or a folder.

    Conversations about the same picture, or that begin with the same request, are of one split: one of `held_out` is
    for `test`, one for `val`. `languages` keeps some (`en`, `zh`, `other`). Pictures are paths from `images`, or else
    from the file's folder. Records that cannot be used, and those that repeat another, are left out and counted.
    Raises DataError for a damaged record, a shape that is not known, and when nothing is left.
    """
    check_split(split, "instructions")
    examples, left_out = list[Example](), Counter[str]()
    known = set[tuple[object, ...]]()
    for one in record_sets(root, sets, WHAT):
        folder = Path(images) if images is not None else one.file.parent
        for name, where, record, shape in one.records():
            if shape.chosen is not None and not any(key in record for key in shape.response):
                raise DataError(
                    f"{where}: a preference ({shape.chosen}, {shape.rejected}); the reader is 'preferences'"
                )
            if shape.label is not None and not record.get(shape.label):
                left_out["are labelled undesirable"] += 1
                continue
            try:
                talk = checked(conversation_of(record, shape, where, folder))
            except UnusableError as error:
                left_out[str(error)] += 1
                continue
            if (key := talk_key(talk)) in known:
                left_out["repeat another"] += 1
                continue
            known.add(key)
            if split_of(group := group_of(talk), held_out) != split:
                continue
            example = as_example(talk, name, {"split": split, "group": group, "set": one.name})
            if languages is None or example.metadata["language"] in languages:
                examples.append(example)
    report(left_out, Path(root))
    if not examples:
        wanted = "" if languages is None else f" in {', '.join(languages)}"
        reasons = "".join(f"; {count} {reason}" for reason, count in left_out.items())
        raise DataError(f"{root}: nothing of the split '{split}'{wanted} can be read{reasons}")
    return examples


def as_example(talk: Conversation, name: str, metadata: Mapping[str, object]) -> Example:
    """A conversation whose last turn is a reply, as an Example."""
    *before, last = talk.turns
    said = " ".join(turn.text[:LETTERS] for turn in talk.turns if turn.role != "system")
    about: dict[str, object] = {**metadata, "language": language_of(said[: 2 * LETTERS])}
    if earlier := talk.replies[:-1]:
        about["replies"] = earlier
    if talk.tools:
        about["tools"] = list(talk.tools)
    if last.calls:
        about["calls"] = [dict(call) for call in last.calls]
    return Example(name, tuple(before), last.text, metadata=about)


def group_of(talk: Conversation) -> str:
    """What must not stand on both sides of a split: a conversation's pictures, or its first request."""
    pictures = [_name(part) for turn in talk.turns for part in turn.content if isinstance(part, ImageRef)]
    asked = next(turn.text for turn in talk.turns if turn.role == "user")
    source = pictures or [" ".join(asked.split()).casefold()]
    return hashlib.sha256("\n".join(source).encode()).hexdigest()[:16]


def talk_key(talk: Conversation) -> tuple[object, ...]:
    """What two conversations have in common that say the same."""
    return tuple(
        (turn.role, *(part if isinstance(part, str) else _name(part) for part in turn.content)) for turn in talk.turns
    )


def _name(image: ImageRef) -> str:
    return str(image.path) if image.path is not None else image.digest
