"""Distillation: a model learns what a teacher thinks of every option (Hinton et al., arXiv 1503.02531).

The loss is the teacher's expected cross-entropy, `-Σ P(option | teacher) · log P(text of the option | model)`:
sequence-level distillation (Kim and Rush, arXiv 1606.07947) over the options of a question. It is not summed but drawn:
each time a question is seen, its target is an option that is drawn by the teacher's probabilities. The gradient is the
same in expectation, at the cost of ordinary training, in any prompt format and for any model that writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np

from sepiola.data.batching import Noise, Row, Sample
from sepiola.data.cutting import Ids
from sepiola.data.example import Example
from sepiola.errors import TrainingError
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.training.objectives.contract import Setting
from sepiola.training.objectives.language_modelling import LanguageModelling, PromptsSpec


class DistillationSpec(PromptsSpec):
    """`teacher` is a run or a checkpoint that answers with probabilities: a model, or an ensemble. The other keys are
    those of language modelling; the answers of the validation data are the dataset's.
    """

    kind: Literal["distillation"]
    teacher: str

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError for what holds no options."""
        super().check(model, stage)
        if self.format is None or self.layout == "chat" or self.shots:
            raise ValueError(
                f"'{stage.name}': distillation teaches the options of questions; give it a format, such as QCM-A, and "
                "neither layout: chat nor shots"
            )


class Distillation(LanguageModelling):
    """Language modelling of answers that are drawn by the teacher's probabilities."""

    spec: ClassVar[type[ObjectiveSpec]] = DistillationSpec

    def __init__(self, stage: StageSpec, setting: Setting) -> None:
        super().__init__(stage, setting)
        self.taught: dict[str, tuple[Sequence[Ids], Sequence[float]]] = {}

    def samples(self, data: DataSpec) -> Sequence[Sample | Row]:
        """The questions of the stage's data, with what the teacher thinks of them; other data as they are.

        Raises TrainingError when no question has options.
        """
        if data != self.stage.data:
            return super().samples(data)
        asked = [e for e in self.laid_out(data) if e.question is not None and len(e.question.choices) > 1]
        if not asked:
            raise TrainingError(f"stage '{self.stage.name}': no question of {data.reader} ({data.split}) has options")
        options = [self._options(example) for example in asked]
        flat = iter(self.encoded([one for each in options for one in each], **self.encoding))
        likely = self.setting.probabilities(self._teacher, asked)
        for example, each, own in zip(asked, options, likely, strict=True):
            targets = [next(flat).cut(self.stage.source_tokens, self.stage.target_tokens).target for _ in each]
            self.taught[example.id] = targets, own
        return self.encoded(asked, **self.encoding)

    def noise(self) -> Noise:
        """Draws the target of a question that the teacher was asked."""

        def draw(sample: Sample, generator: np.random.Generator) -> Sample:
            if sample.id not in self.taught:
                return sample
            targets, likely = self.taught[sample.id]
            shares = np.asarray(likely, dtype=np.float64)
            return replace(sample, target=targets[int(generator.choice(len(targets), p=shares / shares.sum()))])

        return draw

    @property
    def _teacher(self) -> str:
        assert isinstance(self.own, DistillationSpec)
        return self.own.teacher

    def _options(self, example: Example) -> list[Example]:
        """The example once for each option, with that for its answer."""
        assert example.question is not None and self.format is not None
        variants = (replace(example.question, answer=i) for i in range(len(example.question.choices)))
        return [replace(example, target=self.format.target(replace(example, question=one))) for one in variants]
