"""Least-to-most prompting (Zhou et al., arXiv 2205.10625): the model breaks a question down into smaller ones, answers
them in turn, each with the earlier answers before it, and then the question itself.

What it is asked are plain words in the question's language, so any model that writes can be asked so; whether it can
follow them is another matter. Where it names no smaller question, the question is answered as it stands.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Protocol

from sepiola.data.example import Example, Message
from sepiola.errors import DataError
from sepiola.reasoning.answer import Answer

WORDS = {
    "en": ("Which smaller questions must be answered first? Write one a line, the easiest first.", "Q: ", "A:"),
    "zh": ("要先回答哪些更小的问题？每行写一个，从最容易的开始。", "问：", "答："),
}
"""By language what asks for smaller questions, and what stands before a question and its answer."""
_NUMBERING = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.):、）]|Q\d*:|问：)\s*", re.IGNORECASE)


class Writes(Protocol):
    """What writes a text for each example's messages."""

    @property
    def cut(self) -> set[str]: ...
    def write(self, examples: Sequence[Example], /) -> list[list[str]]: ...


class Answering(Protocol):
    """The strategy that answers the question itself."""

    def answer(self, examples: Sequence[Example], on_done: Callable[[int], None] | None = None) -> list[Answer]: ...


class LeastToMost:
    """Asks `writer` for at most `steps` smaller questions and their answers, and `base` for the question's own."""

    def __init__(self, base: Answering, writer: Writes, steps: int) -> None:
        self.base = base
        self.writer = writer
        self.steps = steps

    def answer(self, examples: Sequence[Example], on_done: Callable[[int], None] | None = None) -> list[Answer]:
        """Answers whose rationale are the smaller questions with their answers; None where there is none of them."""
        asked = [_asked(example, WORDS[_language(example)][0]) for example in examples]
        smaller = [
            smaller_questions(text, example, self.steps)
            for example, (text,) in zip(examples, self.writer.write(asked), strict=True)
        ]
        known: list[list[str]] = [[] for _ in examples]
        for step in range(max(map(len, smaller), default=0)):
            turn = [i for i, some in enumerate(smaller) if len(some) > step]
            lines = [_line(examples[i], smaller[i][step]) for i in turn]
            prompts = [_asked(examples[i], "\n".join([*known[i], line])) for i, line in zip(turn, lines, strict=True)]
            for i, line, (text,) in zip(turn, lines, self.writer.write(prompts), strict=True):
                known[i].append(f"{line} {text.strip().partition(chr(10))[0]}".rstrip())
        cut = set(self.writer.cut)
        answers = self.base.answer(
            [_knowing(example, lines) for example, lines in zip(examples, known, strict=True)], on_done
        )
        return [
            dataclasses.replace(
                answer, rationale=_rationale(lines, answer.rationale), prompt_cut=answer.prompt_cut or answer.id in cut
            )
            for answer, lines in zip(answers, known, strict=True)
        ]


def smaller_questions(text: str, example: Example, steps: int) -> list[str]:
    """The first `steps` questions of a text, one a line without its number; the question itself is none of them."""
    own = _question_text(example).strip()
    lines = [_NUMBERING.sub("", line).strip() for line in text.splitlines()]
    return [line for line in dict.fromkeys(lines) if line.endswith(("?", "？")) and line != own][:steps]


def _asked(example: Example, words: str) -> Example:
    """The question and its hint, and below them some words."""
    assert example.question is not None
    hint = (example.question.hint or "").strip()
    text = "\n".join([*([hint] if hint else []), _question_text(example), words])
    return dataclasses.replace(example, messages=(Message("user", (*example.images, text)),))


def _line(example: Example, question: str) -> str:
    """A smaller question, and the place of its answer."""
    _, asks, answers = WORDS[_language(example)]
    return f"{asks}{question}\n{answers}"


def _knowing(example: Example, lines: Sequence[str]) -> Example:
    """The question with what was found before it."""
    if not lines or example.question is None:
        return example
    question = dataclasses.replace(example.question, text="\n".join([*lines, example.question.text]))
    return dataclasses.replace(example, question=question)


def _rationale(lines: Sequence[str], own: str | None) -> str | None:
    return "\n".join([*lines, *([own] if own else [])]) or None


def _language(example: Example) -> str:
    return "zh" if example.metadata.get("language") == "zh" else "en"


def _question_text(example: Example) -> str:
    if example.question is None:
        raise DataError(f"{example.id}: strategies answer questions; this example holds messages only")
    return example.question.text
