"""Questions as chat models are asked them: one user turn with the options by letter and a word on how to answer.

The words are those of LLaVA-1.5's evaluation (arXiv 2310.03744), which most open models have met in training; lmms-eval
uses them too. The chat template lays the turn out. An open question whose answer nobody compares stands as it is.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from sepiola.data.example import Example, Message, Question
from sepiola.errors import DataError
from sepiola.text.answers import is_yes_or_no, read_choice
from sepiola.text.prompts import MAX_OPTIONS, PromptFormat

CHAT = "chat"
WORDS = {
    "en": (
        "Context: ",
        "Answer with the option's letter from the given choices directly.",
        "Answer the question using a single word or phrase.",
    ),
    "zh": ("背景：", "请直接用选项的字母回答。", "请用一个词或短语回答。"),
}
"""By language what stands before a hint, and what asks for a letter or for few words."""


@dataclass(frozen=True)
class ChatQuestions:
    """The format of a chat model's questions; an answer is a letter, or the text where the answer is yes or no."""

    name = CHAT
    takes_rationale = False
    gives_rationale = False

    def apply(self, example: Example, rationale: str | None = None) -> Example:
        """The example as one user turn, images first, and its target. Raises DataError for more than 26 options, an
        example without question parts, and a rationale, which the turn does not show.
        """
        question = _question(example)
        if rationale is not None:
            raise DataError(f"{example.id}: a chat model's question shows no rationale; use a format with G")
        context, by_letter, in_short = WORDS["zh" if example.metadata.get("language") == "zh" else "en"]
        hint = (question.hint or "").strip()
        lines = [context + hint] if hint else []
        lines.append(question.text)
        if _lettered(question):
            if len(question.choices) > MAX_OPTIONS:
                raise DataError(
                    f"{example.id}: {len(question.choices)} options, but letters name {MAX_OPTIONS} at most"
                )
            lines += [f"{chr(ord('A') + i)}. {choice}" for i, choice in enumerate(question.choices)]
            lines.append(by_letter)
        elif question.choices or question.answer_text is not None:
            lines.append(in_short)
        return dataclasses.replace(
            example,
            messages=(Message("user", (*example.images, "\n".join(lines))),),
            target=self.target(example),
            metadata={**example.metadata, "prompt_format": self.name, "hint_known": question.hint is not None},
        )

    def target(self, example: Example) -> str:
        """The answer; "" where it is unknown."""
        question = _question(example)
        if not question.choices:
            return (question.answer_text or "").strip()
        if question.answer is None:
            return ""
        return chr(ord("A") + question.answer) if _lettered(question) else question.choices[question.answer].strip()

    def parse_answer(self, text: str, question: Question) -> int | None:
        """The index of the choice that a reply names; None when it names none, and for open questions."""
        return read_choice(text, question.choices, lettered=_lettered(question)) if question.choices else None


def format_of(name: str) -> PromptFormat | ChatQuestions:
    """The format of a name: `chat`, or as `QCM-A`. Raises SpecError for an unknown one."""
    return ChatQuestions() if name == CHAT else PromptFormat.parse(name)


def _question(example: Example) -> Question:
    if example.question is None:
        raise DataError(f"{example.id}: a question's parts are needed, and this example has messages only")
    return example.question


def _lettered(question: Question) -> bool:
    return bool(question.choices) and not is_yes_or_no(question.choices)
