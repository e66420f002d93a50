"""Replies to messages that ask no question: captions."""

from __future__ import annotations

from collections.abc import Sequence

from sepiola.data.example import Example
from sepiola.generation.example_generator import ExampleGenerator
from sepiola.reasoning.answer import Answer
from sepiola.reasoning.classifying import OnDone


class Replies:
    """Writes what the messages of examples without a question ask for: captions."""

    def __init__(self, generator: ExampleGenerator) -> None:
        self.generator = generator

    def answer(self, examples: Sequence[Example], on_done: OnDone = None) -> list[Answer]:
        texts = self.generator.write_or_cut(examples, on_done=on_done)
        lost = self.generator.cut
        return [
            Answer(e.id, text, cut=cut, prompt_cut=e.id in lost) for e, (text, cut) in zip(examples, texts, strict=True)
        ]
