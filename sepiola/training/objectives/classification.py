"""Fine-tuning under a classifier as GPT-1 does (Radford et al., 2018, section 3.2): L3 = L2 + λ L1.

L2 is the cross-entropy of the answer and L1 that of the sequences' own tokens. As in the paper's code, L1 is the mean
over an example's tokens, so that λ does not depend on how long texts are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, model_validator
from torch import Tensor, nn

from sepiola.data.batching import IGNORED, Batch
from sepiola.data.example import Example
from sepiola.errors import SpecError, TrainingError, shown
from sepiola.models.classifier import add_classifier, with_classifier
from sepiola.nn.loss import linear_cross_entropy
from sepiola.specs.base import Spec
from sepiola.specs.bricks import Probability
from sepiola.specs.classifier import ClassifierKind, ClassifierTokens, Pooling
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.rating import AttributeSpec
from sepiola.specs.recipe import AnsweringSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.text.classification import (
    ClassificationBatch,
    ClassificationCollator,
    Hiding,
    classification_samples,
    sequences,
)
from sepiola.text.pretraining import MASKS, mask_token
from sepiola.text.processor import Processor
from sepiola.text.rated_replies import rated_pairs
from sepiola.training.batches import ImageInputs, SampleBatches
from sepiola.training.loss import Loss
from sepiola.training.objectives.contract import Objective


class TokenNames(Spec):
    """Names of the tokens around a sequence's texts: before, between and after them; the tokenizer has them."""

    start: str
    delimiter: str
    extract: str


class ClassificationSpec(ObjectiveSpec):
    """Puts a classifier on the language model; `lm_weight` is the weight of language modelling beside it (λ).

    `pooling` is what the classifier reads of a sequence (`sepiola.specs.classifier`). `frame` names tokens of the
    tokenizer that stand around its texts; without it three new ones do. Against overfitting, a share `hidden` of each
    text's tokens reads as the mask, and a share `label_smoothing` of each answer is spread over all labels (arXiv
    1512.00567); validation hides nothing. With an `attribute` entailment is between a dialogue and its reply, and the
    label is how the data rate the reply by it: the model is a judge of replies.
    """

    ends: ClassVar[bool] = True

    kind: ClassifierKind
    lm_weight: NonNegativeFloat = 0.5
    pooling: Pooling = "last"
    frame: TokenNames | None = None
    hidden: Probability = 0.0
    label_smoothing: Probability = 0.0
    attribute: AttributeSpec | None = None

    @model_validator(mode="after")
    def _rates_pairs(self) -> ClassificationSpec:
        if self.attribute is not None and self.kind != "entailment":
            raise ValueError(f"attribute: a reply is rated after its dialogue; expected entailment, got {self.kind}")
        return self

    def questions(self, examples: Sequence[Example]) -> Sequence[Example]:
        """The examples with the questions that are learned; of ratings, those that rate the attribute."""
        return examples if self.attribute is None else rated_pairs(examples, self.attribute.name)

    @property
    def answers(self) -> bool:
        """By its classifier."""
        return True

    @property
    def predicts(self) -> bool:
        """Where language modelling stands beside the answer."""
        return self.lm_weight > 0

    def tokens(self) -> list[str]:
        """The mask, where something is hidden."""
        return [MASKS[0]] if self.hidden else []

    def reads(self) -> str:
        """Sequences of its kind."""
        return self.kind

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError for a model that is no decoder or encoder alone."""
        kind = model.language.kind if model.language and not model.bridge else None
        if kind not in ("decoder", "encoder"):
            raise ValueError(f"'{stage.name}': {self.kind} needs a decoder or an encoder alone")
        if kind == "encoder" and self.lm_weight:
            raise ValueError(f"'{stage.name}': an encoder sees the tokens to come; set objective.lm_weight: 0")


class Classification(Objective):
    """L3 over questions as sequences, one answer each."""

    spec: ClassVar[type[ObjectiveSpec]] = ClassificationSpec
    methods: ClassVar[tuple[str, ...]] = ("language.states", "read")

    @classmethod
    def texts(cls, stage: StageSpec, example: Example) -> Iterable[str]:
        """The sequences' texts, each once."""
        spec = stage.objective
        assert isinstance(spec, ClassificationSpec)
        return dict.fromkeys(
            text for e in spec.questions([example]) for texts in sequences(e, spec.kind) for text in texts
        )

    @property
    def own(self) -> ClassificationSpec:
        """The spec of this objective's fields."""
        assert isinstance(self.stage.objective, ClassificationSpec)
        return self.stage.objective

    def identity(self) -> list[object]:
        """The model under its classifier."""
        return [self.model().model_dump(mode="json"), self.setting.tokenizer.to_json()]

    @cached_property
    def _model(self) -> ModelSpec:
        examples = self.own.questions(self.setting.read(self.stage.data))
        rated = {example.question.answer for example in examples if example.question is not None}
        if self.own.attribute is not None and len(rated) < 2:
            raise TrainingError(
                f"stage '{self.stage.name}': the data rate {self.own.attribute.name} {shown(sorted(map(str, rated)))}; "
                "a judge learns from both 0 and 1"
            )
        return with_classifier(
            self.setting.spec, self.own.kind, examples, tokens=self._frame(), pooling=self.own.pooling
        )

    def _frame(self) -> ClassifierTokens | None:
        """The tokenizer's tokens that `frame` names. Raises SpecError for one that it lacks."""
        if self.own.frame is None:
            return None
        ids = {place: self.setting.tokenizer.id_of(name) for place, name in self.own.frame.to_dict().items()}
        for place, name in self.own.frame.to_dict().items():
            if ids[place] is None:
                raise SpecError(
                    f"stages: '{self.stage.name}': objective.frame.{place}: the tokenizer has no token {shown(name)}; "
                    "name one that it has, or leave 'frame' out for new ones"
                )
        return ClassifierTokens.parse(ids)

    def model(self) -> ModelSpec:
        """The language model under the classifier; labels are those of the stage's training data."""
        return self._model

    def prepare(self, network: nn.Module) -> nn.Module:
        """The language model under a classifier that is initialised from the run's seed."""
        return add_classifier(network, self.model(), self.setting.seed)

    def processor(self, processor: Processor) -> Processor:
        """With the attribute that it rates by, if there is one."""
        rated = processor.attributes if self.own.attribute is None else (self.own.attribute,)
        return dataclasses.replace(processor, attributes=rated)

    def answering(self) -> AnsweringSpec:
        """By the classifier."""
        return AnsweringSpec(source_tokens=self.stage.source_tokens)

    def batches(self, data: DataSpec, images: ImageInputs) -> SampleBatches:
        """The questions whose answer is known, as sequences."""
        model = self.model()
        assert model.language is not None and model.classifier is not None
        examples = self.own.questions(self.setting.read(data))
        known = [e for e in examples if e.question is None or e.question.answer is not None]
        samples = classification_samples(known, self.setting.tokenizer, model.classifier)
        collate = ClassificationCollator(
            model.language.tokens,
            model.classifier.tokens,
            causal=model.language.kind == "decoder",
            packed=self.stage.packed,
            source_tokens=self.stage.source_tokens,
            noise=None if data == self.stage.validation else self._noise(),
        )
        return SampleBatches(samples, self.stage, model.language, collate, seed=self.setting.seed)

    def _noise(self) -> Hiding | None:
        """Raises DataError when the tokenizer has no mask."""
        return Hiding(mask_token(self.setting.tokenizer, self.own.kind), self.own.hidden) if self.own.hidden else None

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """See `classification`."""
        return classification(model, batch, lm_weight=self.own.lm_weight, smoothing=self.own.label_smoothing)


def classification(model: nn.Module, batch: Batch, *, lm_weight: float, smoothing: float = 0.0) -> Loss:
    """L3 summed over the batch's examples (nats), λ being `lm_weight`; the model is a `Classifier`.

    A share `smoothing` of each answer is spread over all labels, or all options that its question has.
    """
    assert isinstance(batch, ClassificationBatch)
    network: Any = model
    states = network.language.states(batch.target, attention_mask=batch.target_mask)
    logits = network.read(states, batch.ends, batch.lengths)
    loss = F.cross_entropy(logits.float(), batch.answers, ignore_index=IGNORED, reduction="sum")
    if smoothing:
        loss = (1 - smoothing) * loss + smoothing * _spread(logits.float(), batch)
    if lm_weight:
        loss = loss + lm_weight * _language_modelling(network.language.head, states, batch)
    return Loss(loss, batch.labelled)


def _spread(logits: Tensor, batch: ClassificationBatch) -> Tensor:
    """The cross-entropy of an answer that is every option alike, summed over the examples whose answer is known."""
    there, known = logits > -torch.inf, batch.answers != IGNORED
    means = -logits.log_softmax(dim=-1).where(there, 0.0).sum(dim=-1) / there.sum(dim=-1)
    return means.where(known, 0.0).sum()


def _language_modelling(head: Any, states: Tensor, batch: ClassificationBatch) -> Tensor:
    """The mean loss of each example's tokens, summed. Examples of as many tokens share one product."""
    states, matrix = head.operands(states)
    known = batch.labels != IGNORED
    losses = [
        linear_cross_entropy(states, matrix, batch.labels.where(known & (batch.counts == count), IGNORED))[0] / count
        for count in batch.counts[known].unique().tolist()
    ]
    return torch.stack(losses).sum() if losses else states.new_zeros(())
