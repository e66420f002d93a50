"""One question of a prompting benchmark as text, and the sets of them: those that are tested, and those for shots."""

from __future__ import annotations

from dataclasses import dataclass

from sepiola.data.example import Example, Message, Question
from sepiola.errors import DataError

SEPARATOR = "\n\n"
"""What stands after each shot."""


@dataclass(frozen=True)
class PromptItem:
    """One question as text: `prompt` is all up to the answer, and `answer` is what a shot shows after it.

    `options` are the texts to choose among, `answer` one of them; `references` are the answers that count as right
    when one is written. `head` opens the whole prompt, before any shot. Shots come from the same `group` (a subject, a
    task).
    """

    id: str
    prompt: str
    answer: str
    options: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    head: str = ""
    group: str = ""

    def to_example(self) -> Example:
        """The item without shots as an example: what is asked, what is right, and the rest in its metadata."""
        answer = self.options.index(self.answer) if self.options else None
        question = Question(self.prompt, self.options, answer, self.answer)
        known = {"references": list(self.references), "head": self.head, "group": self.group}
        return Example(self.id, (Message("user", (self.head + self.prompt,)),), self.answer, question, known)

    @classmethod
    def of(cls, example: Example) -> PromptItem:
        """The item that `to_example` made an example of."""
        question, known = example.question, example.metadata
        if question is None or "references" not in known:
            raise DataError(f"example '{example.id}': expected an item of a prompting benchmark")
        references, head, group = tuple(known["references"]), known["head"], known["group"]
        return cls(example.id, question.text, example.target, question.choices, references, head, group)


@dataclass(frozen=True)
class PromptSet:
    """The items to be tested, and those that shots are taken from."""

    tested: tuple[PromptItem, ...]
    shots: tuple[PromptItem, ...]
