"""Preferences: one prompt with several completions, of which some are better than others.

They stand in an Example's metadata as plain data (`completions`), so that a record of preferences is read, kept and cut
as any other. `preference` makes such an Example, `completions_of` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sepiola.data.example import Example, Message
from sepiola.errors import DataError, brief, shown

KEY = "completions"
Span = tuple[int, int]


@dataclass(frozen=True)
class Completion:
    """What an assistant might reply, and how good that is: a higher `score` is better, and equal ones are a tie.

    `corrected` are segments of the text, from a letter's place to another's, that a person has put right or found wrong
    (RLHF-V, arXiv 2312.00849).
    """

    text: str
    score: float
    corrected: tuple[Span, ...] = ()


def preference(
    identity: str,
    messages: Sequence[Message],
    completions: Sequence[Completion],
    metadata: Mapping[str, Any] | None = None,
) -> Example:
    """The Example of a prompt and its completions, whose target is the best of them (the first among equals).

    One completion alone is desirable where its score is above 0, and undesirable otherwise. Raises DataError where
    there is none, where two are the same text, and for a score or a segment that is none.
    """
    records = [_record(completion) for completion in completions]
    best = max(completions, key=lambda completion: completion.score, default=Completion("", 0.0))
    example = Example(identity, tuple(messages), best.text, metadata={**(metadata or {}), KEY: records})
    completions_of(example)
    return example


def completions_of(example: Example) -> tuple[Completion, ...]:
    """An example's completions, in their order. Raises DataError for an example without, and for damaged ones."""
    where, records = f"example '{brief(example.id)}'", example.metadata.get(KEY)
    if not isinstance(records, list | tuple) or not records:
        raise DataError(
            f"{where}: no completions (metadata '{KEY}'), which preferences are made of; got {shown(records)}"
        )
    completions = tuple(_read(record, f"{where}: completion {place}") for place, record in enumerate(records, start=1))
    texts = [completion.text for completion in completions]
    if len({*texts}) < len(texts):
        twice = next(text for text in texts if texts.count(text) > 1)
        raise DataError(f"{where}: two completions are the same text, {shown(twice)}; one of them says nothing")
    return completions


def _record(completion: Completion) -> dict[str, object]:
    record: dict[str, object] = {"text": completion.text, "score": completion.score}
    return record | ({"corrected": [list(span) for span in completion.corrected]} if completion.corrected else {})


def _read(record: object, where: str) -> Completion:
    fields = record if isinstance(record, Mapping) else {}
    text, score, corrected = fields.get("text"), fields.get("score"), fields.get("corrected", [])
    if not isinstance(text, str):
        raise DataError(f"{where}: expected its 'text' and 'score'; got {shown(record)}")
    if isinstance(score, bool) or not isinstance(score, int | float) or not abs(score) < float("inf"):
        raise DataError(f"{where}: 'score' is {shown(score)}; expected a finite number, higher for better")
    return Completion(text, float(score), tuple(_span(span, text, where) for span in corrected))


def _span(span: object, text: str, where: str) -> Span:
    match span:
        case [int(start), int(end)] if 0 <= start < end <= len(text):
            return start, end
    raise DataError(
        f"{where}: 'corrected' has {shown(span)}; expected the first letter's place and the place after the last, "
        f"within the {len(text)} letters of its text"
    )
