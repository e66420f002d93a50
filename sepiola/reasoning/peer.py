"""A peer's scores of chains: how likely a second model finds what the first one wrote (as the second model of rStar
checks the first one's reasoning, Qi et al., arXiv 2408.06195). Two models that learned apart make different faults.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from sepiola.data.example import Example
from sepiola.generation.example_generator import ExampleGenerator
from sepiola.specs.recipe import AnsweringSpec


class Writes(Protocol):
    """A model that writes text."""

    def example_generator(self, target_tokens: int, answering: AnsweringSpec | None = None) -> ExampleGenerator: ...


class PeerModel:
    """A model that could have written the replies itself: it reads prompts as it is asked (`Model.asking`)."""

    def __init__(self, model: Writes) -> None:
        self.generator = model.example_generator(1)

    def replies(self, prompts: Sequence[Example], replies: Sequence[tuple[str, bool]]) -> list[float]:
        """The natural logarithm of how likely each reply, with its end, is after its prompt."""
        pairs = zip(prompts, replies, strict=True)
        return self.generator.log_likelihoods([dataclasses.replace(prompt, target=text) for prompt, (text, _) in pairs])
