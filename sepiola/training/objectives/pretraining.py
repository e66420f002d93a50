"""What the objectives of pretraining on plain text have in common: what noise has hidden is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from sepiola.data.batching import Row, Sample
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.text.pretraining import is_plain
from sepiola.training.objectives.writing import Writing


class PretrainingSpec(ObjectiveSpec):
    """Text with something hidden, for a language model of one kind."""

    language: ClassVar[str]
    """The kind of language model that learns by it."""

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError for a language model of another kind."""
        super().check(model, stage)
        if model.language is None or model.language.kind != self.language:
            kind = model.language.kind if model.language is not None else "absent"
            raise ValueError(
                f"'{stage.name}' has the objective {self.kind}, which is for an {self.language}; model.language.kind "
                f"is '{kind}'"
            )


class Pretraining(Writing):
    """Windows of documents, or examples as they are, each hidden in part by the objective's noise."""

    def samples(self, data: DataSpec) -> Sequence[Sample | Row]:
        """The data as samples."""
        examples = self.setting.read(data)
        return self.windows(examples) if is_plain(examples) else self.encoded(examples, images=self.setting.images)
