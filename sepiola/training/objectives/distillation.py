"""Distillation: a model learns what a teacher thinks of every option, beside the answer that is known (Hinton et al.,
arXiv 1503.02531).

The target of a question is a distribution over its options: `weight` times the teacher's probabilities and the rest for
the dataset's answer, which is the sum of both objectives; where nobody knows the answer it is the teacher's alone. The
loss is the exact expectation `-Σ target(option) · log P(text of the option | model)`: sequence-level distillation (Kim
and Rush, arXiv 1606.07947) over options in the place of a beam. It asks texts of the teacher, and no tokens: the
teacher may be any model that answers with probabilities, by any tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from sepiola.data.batching import IGNORED, Batch, Collator, Row, Sample
from sepiola.data.example import Example
from sepiola.errors import TrainingError
from sepiola.specs.data import DataSpec
from sepiola.specs.ensemble import TaughtSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.text.prompts import PromptFormat
from sepiola.training.batches import ImageInputs, SampleBatches
from sepiola.training.collate import text_collator
from sepiola.training.loss import Loss
from sepiola.training.objectives.language_modelling import LanguageModelling, PromptsSpec
from sepiola.training.objectives.writing import language_modelling

LEAST = 1e-3
"""What of the target an option must have to be learned: each that is costs a row of the batch."""


class DistillationSpec(PromptsSpec, TaughtSpec):
    """`teacher` is a run or a checkpoint that answers with probabilities: a model, or an ensemble. `weight` and
    `questions` are as `TaughtSpec` has them, the other keys those of language modelling. Validation data keep the
    dataset's answers.
    """

    kind: Literal["distillation"]
    teacher: str

    @property
    def reads_beside(self) -> Mapping[str, DataSpec]:
        return {} if self.questions is None else {"questions": self.questions}

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError for what holds no options, and for rationales of questions that nobody has answered."""
        super().check(model, stage)
        layout = PromptFormat.parse(self.format) if self.format is not None else None
        if layout is None or not layout.gives_answer or self.layout == "chat" or self.shots:
            raise ValueError(
                f"'{stage.name}': distillation teaches the options of questions; give it a format that ends in an "
                "answer, such as QCM-A, and neither layout: chat nor shots"
            )
        if self.questions is not None and (layout.gives_rationale or {*"GLE"} & {*layout.input}):
            raise ValueError(
                f"'{stage.name}': nobody has explained the 'questions' that the teacher answers; give it a format "
                "without rationales, such as QCM-A"
            )


@dataclass(frozen=True)
class Option(Sample):
    """One option of a question as its answer; `share` is what the target gives it."""

    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class OptionsBatch(Batch):
    """All options of some questions, each a row of its own or packed. `weights` `(labels,)` are what each label counts,
    row after row: its option's share.
    """

    weights: Tensor


class OptionsCollator(Collator):
    """Lays the options of questions out, each by itself."""

    def __call__(self, samples: Sequence[Sample | Row]) -> Batch:
        return super().__call__([part for sample in samples for part in sample.parts])

    def lay_out(self, rows: Sequence[Sequence[Sample]]) -> OptionsBatch:
        """The batch of these rows; `labelled` is how many labels are expected under the target."""
        batch = super().lay_out(rows)
        options = [part for row in rows for part in row if isinstance(part, Option)]
        weights = torch.tensor([part.share for part in options for label in self._written(part)[1] if label != IGNORED])
        laid_out = {f.name: getattr(batch, f.name) for f in fields(Batch)}
        return OptionsBatch(**laid_out | {"labelled": max(1, round(float(weights.sum())))}, weights=weights)


class Distillation(LanguageModelling):
    """The cross-entropy of every option's text, weighted by the target."""

    spec: ClassVar[type[ObjectiveSpec]] = DistillationSpec

    @property
    def own(self) -> DistillationSpec:
        """The spec of this objective's fields."""
        assert isinstance(self.stage.objective, DistillationSpec)
        return self.stage.objective

    def batches(self, data: DataSpec, images: ImageInputs) -> SampleBatches:
        """The stage's questions with the targets of their options; other data with the dataset's answers."""
        if data != self.stage.data:
            return super().batches(data, images)
        collate = text_collator(self.network, self.language, self.stage, images, layout=OptionsCollator)
        return SampleBatches(self.taught(), self.stage, self.language, collate, seed=self.setting.seed)

    def taught(self) -> list[Row]:
        """Every question with options, each of its options a part. Raises TrainingError when there is none."""
        examples, data = self._questions(), self.stage.data
        rationales = self._rationales(examples)
        options = [self._options(example, rationales) for example in examples]
        asked = [example for example, each in zip(examples, options, strict=True) if each]
        if not asked:
            raise TrainingError(f"stage '{self.stage.name}': no question of {data.reader} ({data.split}) has options")
        samples = iter(self.encoded([one for each in options for one in each], **self.encoding))
        heard = self.setting.probabilities(self.own.teacher, asked)
        rows = []
        for example, each, likely in zip(asked, filter(None, options), heard, strict=True):
            answer = None if example.question is None else example.question.answer
            rows.append(_row(example.id, [next(samples) for _ in each], target(likely, answer, self.own.weight)))
        return rows

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The expected cross-entropy under the target; of validation data that of the dataset's answers."""
        return language_modelling(model, batch, batch.weights if isinstance(batch, OptionsBatch) else None)

    def _questions(self) -> list[Example]:
        """The stage's own questions, and those that the teacher alone answers, under names of their own."""
        beside = [] if self.own.questions is None else self.setting.read(self.own.questions)
        unanswered = [
            replace(example, id=f"{example.id}#unanswered", question=replace(example.question, answer=None))
            for example in beside
            if example.question is not None
        ]
        return [e for e in self.setting.read(self.stage.data) if e.question is not None] + unanswered

    def _rationales(self, examples: Sequence[Example]) -> Mapping[str, str] | None:
        """What the format reads of each question, by its id; None where it reads no rationale."""
        if self.format is None or not self.format.takes_rationale:
            return None
        return self.setting.rationales(examples, generated=self.reads_generated)

    def _options(self, example: Example, rationales: Mapping[str, str] | None) -> list[Example]:
        """The example laid out once for each option, with that for its answer; none where it has not two options, or
        lacks what the format is made of.
        """
        question, layout = example.question, self.format
        assert question is not None and layout is not None
        if len(question.choices) < 2 or (rationales is not None and example.id not in rationales):
            return []
        rationale = None if rationales is None else rationales[example.id]
        each = [replace(example, question=replace(question, answer=i)) for i in range(len(question.choices))]
        return [layout.apply(one, rationale) for one in each] if layout.trainable(each[0], rationale) else []


def target(teacher: Sequence[float], answer: int | None, weight: float) -> tuple[float, ...]:
    """The distribution over options that is learned: `weight` of it the teacher's, the rest for the known answer."""
    share = np.asarray(teacher, dtype=np.float64)
    mixed = share / share.sum()
    if answer is not None:
        mixed = weight * mixed + (1 - weight) * np.eye(len(mixed))[answer]
    return tuple(mixed.tolist())


def _row(name: str, samples: Sequence[Sample], shares: Sequence[float]) -> Row:
    """The options that the target gives enough; their shares sum to 1."""
    least = min(LEAST, max(shares))
    kept = [(sample, share) for sample, share in zip(samples, shares, strict=True) if share >= least]
    total, own = sum(share for _, share in kept), [f.name for f in fields(Sample)]
    parts = [Option(**{name: getattr(sample, name) for name in own}, share=share / total) for sample, share in kept]
    return Row(name, tuple(parts))
