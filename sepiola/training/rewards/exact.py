"""1 for the right answer, by rule: no judge, and nothing for an answer that is empty or names two things."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from sepiola.data.example import Example
from sepiola.text.answers import read_choice, read_final, read_number, read_open
from sepiola.training.rewards.contract import RewardSpec, Written

READERS: dict[str, Callable[[str], str | None]] = {
    "text": str.strip,
    "number": read_number,
    "final": read_final,
    "open": read_open,
}


class ExactSpec(RewardSpec):
    """Questions are judged by their choice, or their open answer. For other examples `read` says what is compared with
    the target: the whole `text`, the `number` that it ends in, what it announces as `final`, or what it says as an
    answer to an `open` question.
    """

    kind: Literal["exact"]
    read: Literal["text", "number", "final", "open"] = "text"


class Exact:
    """Whether the answer is the right one."""

    spec: ClassVar[type[RewardSpec]] = ExactSpec

    def __init__(self, spec: RewardSpec) -> None:
        assert isinstance(spec, ExactSpec)
        self.read = READERS[spec.read]

    def score(self, examples: Sequence[Example], written: Sequence[Written]) -> list[float]:
        return [float(self._right(example, one.text)) for example, one in zip(examples, written, strict=True)]

    def _right(self, example: Example, text: str) -> bool:
        question = example.question
        if question is None:
            said, wanted = self.read(text), self.read(example.target)
        elif question.choices:
            return question.answer is not None and read_choice(text, question.choices) == question.answer
        else:
            said, wanted = read_open(text), read_open(question.answer_text or "")
        return bool(said) and said == wanted
