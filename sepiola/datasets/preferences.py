"""Preferences in the shapes that people share: two replies of which one is better, several that are ranked, or one that
is liked or not.

Of pairs: a request or a conversation with `chosen` and `rejected` (texts, turns, or whole conversations of messages),
LLaMA-Factory's with or without its index, and dialogues as text, as hh-rlhf has them, of which what both begin with is
the prompt. Of several: `completions`, `answers` or `responses`, each with its `score` or `rank`. Of one: KTO's `label`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from pydantic import PositiveInt

from sepiola.data.example import Example, Message
from sepiola.data.preferences import Completion, preference
from sepiola.datasets.conversations import Conversation, UnusableError, checked, conversation_of
from sepiola.datasets.instructions import Half, HeldOut
from sepiola.datasets.record_files import Reading, Source, group_of
from sepiola.datasets.record_shapes import Shape, keys_of
from sepiola.errors import DataError, shown
from sepiola.specs.values import Names

SCORES = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen_rating", "rejected_rating"),
)
TEXTS = ("text", "response", "answer", "completion", "content")
RATINGS = ("score", "overall_score", "rating")
_SPEAKER = re.compile(r"\n\n(Human|Assistant): ?")


def read_preferences(
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
    """One Example a record (`sepiola.data.preferences`); the options are those of `instructions`.

    Records that begin with the same request are of one split. Those that cannot be used (equal replies, dialogues that
    part before their last reply), and those that repeat another, are left out and counted. Raises DataError for a
    damaged record, one without preferences, and when nothing is left.
    """
    return Reading(root, split, "preferences", sets, languages, held_out, images, half, longest).examples(ranked)


def ranked(source: Source) -> Example:
    """A record as a preference. Raises UnusableError, and DataError for damage."""
    record, shape = source.record, source.shape
    if shape.label is not None:
        talk = checked(_conversation(source))
        *turns, last = talk.turns
        completions = [Completion(last.text, float(bool(record.get(shape.label))))]
    elif shape.ranked is not None:
        turns = [*_conversation(source).turns]
        completions = [_scored(reply, source.where) for reply in record[shape.ranked]]
    elif shape.chosen is not None and shape.rejected is not None:
        both = [_replied(record.get(key), source) for key in (shape.chosen, shape.rejected)]
        before = [*_conversation(source).turns] if shape.messages or shape.prompt else []
        turns, replies = _parted([talk if len(talk) > 1 else [*before, *talk] for talk in both])
        scores = next((pair for pair in SCORES if record.keys() >= {*pair}), None)
        completions = [
            Completion(reply.text, float(record[scores[place]]) if scores else 1.0 - place)
            for place, reply in enumerate(replies)
        ]
        if completions[0].score < completions[1].score:
            raise UnusableError("score higher what they reject")
    else:
        raise DataError(
            f"{source.where}: no preference: its keys are {shown(sorted(record))}; expected chosen and rejected, "
            "a list of completions with their scores, or a label that is true or false"
        )
    if len({completion.text for completion in completions}) < len(completions):
        raise UnusableError("have equal replies")
    if not all(completion.text.strip() for completion in completions):
        raise UnusableError("have an empty reply")
    checked(Conversation((*turns, Message("assistant", (completions[0].text,)))))
    return preference(source.name, turns, completions, {"group": group_of(turns)})


def _conversation(source: Source) -> Conversation:
    """What was said before the replies that are compared. A pair's own reply (`output`) is none of it."""
    record, shape = source.record, source.shape
    if shape.label is None:
        record = {key: value for key, value in record.items() if key not in shape.response}
    return conversation_of(record, shape, source.where, source.folder)


def _replied(reply: object, source: Source) -> list[Message]:
    """A reply, alone or behind the conversation that it ends."""
    if isinstance(reply, str):
        pieces = _SPEAKER.split(reply)
        if len(pieces) == 1 or pieces[0].strip() or source.shape.messages or source.shape.prompt:
            return [Message("assistant", (reply,))]
        turns = [
            {"from": name.lower(), "value": text.strip()} for name, text in zip(pieces[1::2], pieces[2::2], strict=True)
        ]
    elif isinstance(reply, Mapping | list) and reply:
        turns = [dict(reply)] if isinstance(reply, Mapping) else reply
    elif reply is None or reply in ([], {}):
        raise UnusableError("have an empty reply")
    else:
        raise DataError(f"{source.where}: a reply is {shown(reply)}; expected a text, a turn, or a list of turns")
    role, content = keys_of(turns[0], source.where)
    shape = Shape(messages="turns", role=role, content=content, roles=source.shape.roles, images=source.shape.images)
    images = {shape.images: source.record.get(shape.images)} if shape.images and len(turns) > 1 else {}
    return [*conversation_of({"turns": turns, **images}, shape, source.where, source.folder).turns]


def _parted(talks: Sequence[Sequence[Message]]) -> tuple[list[Message], tuple[Message, Message]]:
    """What two conversations begin with, and the replies in which they part.

    Raises UnusableError where they part earlier.
    """
    first, second = talks
    same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))))
    if len(first) == len(second) == same:
        raise UnusableError("have equal replies")
    if not (same == len(first) - 1 == len(second) - 1) or first[-1].role != "assistant":
        raise UnusableError("part before their last reply")
    return [*first[:-1]], (first[-1], second[-1])


def _scored(reply: object, where: str) -> Completion:
    """One of several replies, with its score or its rank, of which 1 is the best."""
    fields = reply if isinstance(reply, Mapping) else {}
    text = next((fields[key] for key in TEXTS if isinstance(fields.get(key), str)), None)
    score = next((fields[key] for key in RATINGS if isinstance(fields.get(key), int | float)), None)
    if score is None and isinstance(fields.get("rank"), int | float):
        score = -fields["rank"]
    if text is None or score is None:
        raise DataError(f"{where}: a completion is {shown(reply)}; expected its 'text' and its 'score' or 'rank'")
    return Completion(text, float(score))
