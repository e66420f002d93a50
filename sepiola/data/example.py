"""Example: one record of any dataset, as chat messages with text and images interleaved, and a target.

Readers make Examples; everything downstream eats them and knows no dataset's name. A question with options keeps
its parts in `question`, so that a prompt format can lay them out anew (`sepiola.text.prompts`).
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from sepiola.data.image import ImageRef
from sepiola.errors import DataError

Content = str | ImageRef
Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True)
class Message:
    """One turn: who speaks, and text and images in their order.

    A turn of the assistant may be `calls`, each a `name` and its `arguments`; the last part of its content is then
    their JSON, for who knows no calls. A `tool` says what came of them, and `about` says of which: its `name`, and the
    `tool_call_id` that is a call's `id`.
    """

    role: Role
    content: tuple[Content, ...]
    calls: tuple[Mapping[str, Any], ...] = ()
    about: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The turn's text, images left out."""
        return "".join(part for part in self.content if isinstance(part, str))


@dataclass(frozen=True)
class Question:
    """A question's parts. A part that is None is unknown; an empty string is known to be empty.

    `answer` is an index into `choices`; an open question has no choices and its answer is `answer_text`.
    """

    text: str
    choices: tuple[str, ...] = ()
    answer: int | None = None
    answer_text: str | None = None
    hint: str | None = None
    lecture: str | None = None
    solution: str | None = None

    def __post_init__(self) -> None:
        if self.answer is not None and not 0 <= self.answer < len(self.choices):
            raise DataError(
                f"answer {self.answer} is out of range: the question has {len(self.choices)} choices (0 to "
                f"{len(self.choices) - 1})"
            )


@dataclass(frozen=True)
class Example:
    """One record: `messages` in, `target` out.

    `metadata` is plain JSON data: `split`, `language` ("en" or "zh"), `group` (the scene or source that must not
    stand on both sides of a split), and what the dataset knows (subject, grade, the scene's truth …). In a conversation
    `replies` are the places of earlier messages that are learned as the target is, and `tools` what it declares.
    """

    id: str
    messages: tuple[Message, ...]
    target: str
    question: Question | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def images(self) -> tuple[ImageRef, ...]:
        """All images, in the order in which they are read."""
        return tuple(part for m in self.messages for part in m.content if isinstance(part, ImageRef))

    @property
    def prompt(self) -> str:
        """All text of the messages, images left out."""
        return "\n".join(m.text for m in self.messages)

    @property
    def days(self) -> Mapping[str, str]:
        """How its days count from `today`, by their ISO dates (metadata `days`)."""
        return self.metadata.get("days") or {}

    @property
    def today(self) -> datetime.date | None:
        """The day that it is in the example, where its metadata say one (`today`, in ISO's form)."""
        return datetime.date.fromisoformat(self.metadata["today"]) if self.metadata.get("today") else None


def each_reply(example: Example) -> list[Example]:
    """The example once for each reply that is learned: for those among its messages (metadata `replies`), and the last.

    Each reads what was said before it.
    """
    about = {key: value for key, value in example.metadata.items() if key != "replies"}
    found = []
    for at in example.metadata.get("replies", ()):
        reply = example.messages[at]
        calls = {"calls": [dict(call) for call in reply.calls]} if reply.calls else {}
        own = {key: value for key, value in about.items() if key != "calls"} | calls
        found.append(
            replace(example, id=f"{example.id}#{at}", messages=example.messages[:at], target=reply.text, metadata=own)
        )
    return [*found, replace(example, metadata=about) if found else example]


def digest(examples: Iterable[Example]) -> str:
    """What tells these examples from others: all that they say, in their order, and the marks of their images."""
    hashed = hashlib.sha256()
    for example in examples:
        turns = [
            [message.role, [part if isinstance(part, str) else part.mark for part in message.content], *message.calls]
            for message in example.messages
        ]
        question = example.question and asdict(example.question)
        said = [example.id, turns, example.target, question, dict(example.metadata)]
        hashed.update(json.dumps(said, sort_keys=True).encode())
    return hashed.hexdigest()[:16]
