"""What the objectives have in common that learn from the chains of thought of an earlier stage's model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from sepiola.data.example import Example
from sepiola.generation.sampling import LEAST_TEMPERATURE
from sepiola.reasoning.answer import Answer
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import StageSpec
from sepiola.specs.strategy import SelfConsistencySpec
from sepiola.specs.values import Name
from sepiola.training.objectives.language_modelling import LanguageModelling, PromptsSpec


class ChainsSpec(PromptsSpec):
    """`writer` is the stage whose model answers questions, `chains` times each at `temperature`. `runtime` and `bits`
    are what runs it meanwhile, as in `Model.run`.
    """

    writer: Name
    chains: Annotated[int, Field(ge=1, le=1024)] = 8
    temperature: Annotated[float, Field(ge=LEAST_TEMPERATURE, le=1e6)] = 1.0
    runtime: Literal["torch", "prepacked", "native"] = "torch"
    bits: Literal[4, 8, 16] | None = None

    @property
    def asks(self) -> tuple[str, ...]:
        return (self.writer,)

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError for bits that the runtime does not have."""
        super().check(model, stage)
        if self.bits is not None and self.runtime != "native":
            raise ValueError(f"'{stage.name}': bits are those of runtime: native; unset them, or name that runtime")


class LearnsFromChains(LanguageModelling):
    """Learns from what the writer's model says."""

    @property
    def own(self) -> ChainsSpec:
        """The spec of this objective's fields."""
        assert isinstance(self.stage.objective, ChainsSpec)
        return self.stage.objective

    def identity(self) -> list[object]:
        """With the weights of the writer."""
        return [*super().identity(), self.setting.answers_key(self.own.writer)]

    def drawn(self, questions: Sequence[Example], top_k: int = 40) -> list[Answer]:
        """The writer's chains of each question."""
        own = self.own
        spec = SelfConsistencySpec(
            kind="self-consistency",
            chains=own.chains,
            temperature=own.temperature,
            top_k=top_k,
            seed=self.setting.seed,
            shuffle=False,
        )
        return self.setting.answers(own.writer, questions, spec, runtime=own.runtime, bits=own.bits)
