"""Instructions and conversations in the shapes that people share them in, known by their keys.

Alpaca (`instruction`, `input`, `output`, `history`), BELLE, COIG, seed tasks, ShareGPT (`conversations` of `from` and
`value`), OpenAI's `messages` (texts or lists of parts, `tool_calls`), LLaVA (`<image>` and a path), dialogues as lists
of texts, and whatever LLaMA-Factory's `dataset_info.json` describes. A conversation is one Example: its last reply is
the target, and `replies` in its metadata says which earlier messages are replies that are learned too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from sepiola.data.example import Example
from sepiola.datasets.conversations import UnusableError, checked, conversation_of
from sepiola.datasets.record_files import Reading, Source, group_of
from sepiola.errors import DataError
from sepiola.specs.values import Names

HeldOut = Annotated[int, Field(ge=3, le=1 << 32)]
Half = Literal[1, 2] | None


def read_instructions(
    root: Path,
    split: str,
    *,
    sets: Names | None = None,
    languages: Names | None = None,
    held_out: HeldOut = 20,
    images: str | None = None,
    half: Half = None,
    longest: PositiveInt | None = None,
) -> list[Example]:
    """One Example a conversation of the sets that are named, or of all that `root` holds, a file or a folder.

    Conversations about the same picture, or that begin with the same request, are of one split: one of `held_out` is
    for `test`, one for `val`. Of each split's requests `half` keeps one half, 1 or 2: what learns from one knows none
    of the other's. Replies of more than `longest` characters are left out. `languages` keeps some (`en`, `zh`,
    `other`). Pictures are paths from `images`, or else from the file's folder. Records that cannot be used, and those
    that repeat another, are left out and counted.
    Raises DataError for a damaged record, a shape that is not known, and when nothing is left.
    """
    return Reading(root, split, "instructions", sets, languages, held_out, images, half, longest).examples(instruction)


def instruction(source: Source) -> Example:
    """A record as an Example. Raises UnusableError, and DataError for damage and for preferences."""
    record, shape = source.record, source.shape
    if (shape.chosen or shape.ranked) and not any(key in record for key in shape.response):
        raise DataError(f"{source.where}: a preference, and no reply of its own; the reader is 'preferences'")
    if shape.label is not None and not record.get(shape.label):
        raise UnusableError("are labelled undesirable")
    talk = checked(conversation_of(record, shape, source.where, source.folder))
    *before, last = talk.turns
    about: dict[str, object] = {"group": group_of(before)}
    if earlier := talk.replies[:-1]:
        about["replies"] = earlier
    if talk.tools:
        about["tools"] = list(talk.tools)
    if last.calls:
        about["calls"] = [dict(call) for call in last.calls]
    return Example(source.name, tuple(before), last.text, metadata=about)
