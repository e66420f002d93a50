"""A channel model's scores of replies (noisy-channel reranking: Yee et al., arXiv 1908.05731): how likely the question
is after its chain of thought and answer, under a model that reads them and writes questions (objective `channel`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from sepiola.data.example import Example, Message
from sepiola.generation.example_generator import ExampleGenerator
from sepiola.specs.recipe import AnsweringSpec


class Writes(Protocol):
    """A model that writes text."""

    def example_generator(self, target_tokens: int, answering: AnsweringSpec | None = None) -> ExampleGenerator: ...


class ChannelModel:
    """A model that was taught to write questions after their answers; it sees no pictures."""

    def __init__(self, model: Writes) -> None:
        self.generator = model.example_generator(1, AnsweringSpec(images=False))

    def replies(self, prompts: Sequence[Example], replies: Sequence[tuple[str, bool]]) -> list[float]:
        """The natural logarithm of how likely each whole prompt is after its reply."""
        pairs = zip(prompts, replies, strict=True)
        return self.generator.log_likelihoods([backwards(prompt, text) for prompt, (text, _) in pairs])


def backwards(example: Example, reply: str) -> Example:
    """An example whose prompt is what replies to this one, and whose target is this one's prompt."""
    return dataclasses.replace(example, messages=(Message("user", (reply,)),), target=example.prompt)
