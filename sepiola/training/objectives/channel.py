"""A channel model (noisy-channel reranking: Yee et al., arXiv 1908.05731): it reads what answers a question, the chain
of thought with its answer, and predicts the question. A chain that takes a wrong number or a wrong relation makes its
question unlikely, so the likelihood verifies chains (`vote: channel`).

It learns from the dataset's own chains and needs none of a writer's, so there is as much to learn from as a writer has.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from sepiola.data.example import Example
from sepiola.reasoning.channel import backwards
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.text.prompts import PromptFormat
from sepiola.training.objectives.language_modelling import LanguageModelling, PromptsSpec


class ChannelSpec(PromptsSpec):
    """`format` is the one in which the chains are written that it shall verify."""

    scores: ClassVar[str | None] = "channel"

    kind: Literal["channel"]

    @property
    def answers(self) -> bool:
        """It writes questions."""
        return False

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError for a format without an answer, and for what it does not read."""
        super().check(model, stage)
        layout = PromptFormat.parse(self.format) if self.format is not None else None
        if layout is None or not layout.gives_answer or layout.takes_rationale:
            raise ValueError(f"'{stage.name}': channel reads whole answers; give the format that they are written in")
        if self.layout is not None or self.shots:
            raise ValueError(f"'{stage.name}': channel reads whole answers and nothing else; unset layout, shots")


class Channel(LanguageModelling):
    """The cross-entropy of questions after their answers."""

    spec: ClassVar[type[ObjectiveSpec]] = ChannelSpec

    def laid_out(self, data: DataSpec) -> list[Example]:
        """The examples with prompt and target in each other's place."""
        return [backwards(example, example.target) for example in super().laid_out(data)]
