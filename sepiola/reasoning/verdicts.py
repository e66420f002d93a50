"""Whether a chain comes to its question's answer."""

from __future__ import annotations

from sepiola.data.example import Example
from sepiola.reasoning.answer import Chain
from sepiola.text.answers import normalised, read_open


def is_right(example: Example, chain: Chain) -> bool:
    """Whether a chain comes to the question's answer."""
    question = example.question
    if question is None or chain.vote is None:
        return False
    if question.choices:
        return chain.choice == question.answer
    return chain.said == normalised(read_open(question.answer_text or ""))
