"""Self-consistency in training (MC-CoT, Tan et al., 2023, arXiv 2311.14109): passes of the decoder that differ by their
dropout vote on every token, and the vote learns.

The paper's vote is `alpha · mean + (1 − alpha) · weighted mean` of the passes' logits, where a logit weighs
1 / (1 + its standard deviation over the passes), and the weighted mean is divided by the sum of the weights over the
passes. Such a weight is the same for every pass and cancels: the weighted mean is the mean, whatever alpha. So the vote
is computed as the mean, and of states, so that the head multiplies once. (The public code divides by the sum over the
batch instead, so that a question's loss depends on who shares its batch.)

In validation and in answering dropout is off, all passes are equal, and one is run.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import nn

from sepiola.data.batching import Batch
from sepiola.specs.bridge import GatedCrossSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.training.loss import Loss
from sepiola.training.objectives.language_modelling import LanguageModelling, PromptsSpec
from sepiola.training.objectives.writing import language_modelling


class SelfConsistencyTrainingSpec(PromptsSpec):
    """`votes` passes a step; the public code takes 5. The other keys are those of language modelling."""

    kind: Literal["self-consistency-training"]
    votes: Annotated[int, Field(ge=2, le=64)] = 5

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError where the passes would all be equal, and for models whose passes cannot share a reading."""
        super().check(model, stage)
        language = model.language
        dropout = 0.0 if language is None else language.dropout
        if not dropout and not (stage.lora is not None and stage.lora.dropout):
            raise ValueError(
                f"'{stage.name}': self-consistency-training lets passes vote that differ by dropout; without dropout "
                "they are all equal: set model.language.dropout, such as 0.1, or take language-modelling"
            )
        if isinstance(model.bridge, GatedCrossSpec) and language is not None and language.kind == "encoder-decoder":
            raise ValueError(
                f"'{stage.name}': self-consistency-training repeats the decoder over one reading of the source, and "
                "this bridge's layers stand in an encoder-decoder's decoder; take language-modelling"
            )


class SelfConsistencyTraining(LanguageModelling):
    """The cross-entropy of the votes."""

    spec: ClassVar[type[ObjectiveSpec]] = SelfConsistencyTrainingSpec

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """See `language_modelling`."""
        assert isinstance(self.own, SelfConsistencyTrainingSpec)
        return language_modelling(model, batch, votes=self.own.votes if model.training else 1)
