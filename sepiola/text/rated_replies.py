"""Replies whose ratings are known (`metadata["ratings"]`), and how a classifier reads them: a dialogue and its reply as
premise and hypothesis, the rating 0 or 1 as the label.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from sepiola.data.example import Example, Message, Question
from sepiola.errors import DataError, shown

LABELS = ("0", "1")


def ratings_of(example: Example) -> Mapping[str, int]:
    """What is said of an example's target, by attributes. Raises DataError for what is neither 0 nor 1."""
    ratings = example.metadata.get("ratings") or {}
    if not isinstance(ratings, Mapping) or any(value not in (0, 1) for value in ratings.values()):
        raise DataError(f"{example.id}: ratings (metadata 'ratings') are {shown(ratings)}; expected each 0 or 1")
    return ratings


def reply_pair(messages: Sequence[Message], reply: str, rating: int | None = None) -> Question:
    """A dialogue and a reply. Raises DataError for a dialogue without a turn, and for pictures."""
    if any(not isinstance(part, str) for message in messages for part in message.content):
        raise DataError("the dialogue shows pictures; what rates replies reads text alone")
    premise = "\n".join(message.text for message in messages)
    if not premise:
        raise DataError("a reply follows a turn, and this dialogue has none")
    return Question(reply, LABELS, rating, hint=premise)


def rated_pairs(examples: Sequence[Example], attribute: str) -> list[Example]:
    """The examples that rate the attribute, each asking for its rating."""
    return [
        dataclasses.replace(example, question=reply_pair(example.messages, example.target, ratings[attribute]))
        for example in examples
        if attribute in (ratings := ratings_of(example))
    ]
