"""A model that asks its toolset before it answers (LaMDA, arXiv 2201.08239, section 6.2).

What the model writes says first who is addressed: `TS, 135+7721` asks the toolset, whose texts are the next turn, and
`User, It is 7856.` is the reply. The loop goes on until the user is addressed, at most `LIMIT` times. Only what the
model writes can ask: a user's or a tool's text that begins with `TS,` is a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Literal

from sepiola.data.example import Message
from sepiola.data.language import language_of
from sepiola.reasoning.toolset import LONGEST, Toolset

LIMIT = 4
"""How often the toolset is asked for one reply."""
NO_ANSWER = {"en": "I could not find that out.", "zh": "我没能查到。"}
NOTHING_FOUND = "TS: -"
_ADDRESSED = re.compile(r"\s*(TS|User)\s*[,，:：]\s*", re.IGNORECASE)

Write = Callable[[Sequence[Message]], str]
"""The model's next turn."""
WriteAll = Callable[[Sequence[Sequence[Message]]], Sequence[str]]
"""Its next turn in each of some dialogues."""


@dataclass(frozen=True)
class Step:
    """What the toolset was asked, and what it gave."""

    asked: str
    found: tuple[str, ...]


@dataclass(frozen=True)
class Grounded:
    """The reply and the steps to it. `ended` says how: the `user` was addressed, nobody was (`unaddressed`: all of the
    text is the reply), or the toolset would have been asked once more (`limit`: a fixed text is the reply).
    """

    text: str
    steps: tuple[Step, ...]
    ended: Literal["user", "unaddressed", "limit"]


def ground(write: Write, messages: Sequence[Message], toolset: Toolset, *, limit: int = LIMIT) -> Grounded:
    """The reply to a dialogue, which ends with what the user said."""
    return ground_all(lambda dialogues: [write(said) for said in dialogues], [messages], toolset, limit=limit)[0]


def ground_all(
    write: WriteAll, dialogues: Sequence[Sequence[Message]], toolset: Toolset, *, limit: int = LIMIT
) -> list[Grounded]:
    """The reply to each dialogue; the model's next turns in all that go on are written together."""
    loops = [_loop(messages, toolset, limit) for messages in dialogues]
    waiting, replies = {place: next(loop) for place, loop in enumerate(loops)}, dict[int, Grounded]()
    while waiting:
        asked, waiting = waiting, {}
        for place, written in zip(asked, write([*asked.values()]), strict=True):
            try:
                waiting[place] = loops[place].send(written)
            except StopIteration as end:
                replies[place] = end.value
    return [replies[place] for place in range(len(loops))]


def _loop(messages: Sequence[Message], toolset: Toolset, limit: int) -> Generator[Sequence[Message], str, Grounded]:
    """Yields what was said so far, and is sent the model's next turn."""
    said, steps = [*messages], list[Step]()
    while True:
        written = yield tuple(said)
        addressed = _ADDRESSED.match(written)
        text = written[addressed.end() :].strip() if addressed else written.strip()
        if addressed is None or addressed[1].lower() == "user":
            return Grounded(text, tuple(steps), "user" if addressed else "unaddressed")
        if len(steps) == limit:
            language = "zh" if messages and language_of(messages[-1].text) == "zh" else "en"
            return Grounded(NO_ANSWER[language], tuple(steps), "limit")
        asked = text.partition("\n")[0][:LONGEST]
        steps.append(Step(asked, tuple(toolset(asked))))
        said += turns_of(steps[-1])


def turns_of(step: Step) -> list[Message]:
    """A step as two turns: the model's, and what the toolset gave."""
    found = "\n".join(f"TS: {text}" for text in step.found) or NOTHING_FOUND
    return [Message("assistant", (f"TS, {step.asked}",)), Message("user", (found,))]
