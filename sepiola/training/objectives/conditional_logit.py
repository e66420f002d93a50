"""A conditional logit over the options of questions (`sepiola.models.conditional_logit`): the log-likelihood of the
right option, as McFadden (1974) fits it. First the model remembers its training questions; then weights are learned
on the votes that each gets of the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sepiola.data.batching import Batch
from sepiola.data.example import Example
from sepiola.data.sampler import BatchSampler
from sepiola.errors import TrainingError
from sepiola.models.conditional_logit import ConditionalLogit, filled, halve, remembering, with_memory
from sepiola.models.hashed_linear import Features, laid_out, padded
from sepiola.models.picture_votes import Known
from sepiola.models.text_states import TextStates
from sepiola.models.text_votes import Encode
from sepiola.models.transformer import LanguageModel
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.recipe import AnsweringSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.text.option_features import Asked, common_words
from sepiola.training.batches import ImageInputs
from sepiola.training.loss import Loss
from sepiola.training.objectives.contract import Objective
from sepiola.training.ranks import Ranks


class ConditionalLogitObjectiveSpec(ObjectiveSpec):
    """Words that stand in `common` training questions belong to templates."""

    ends: ClassVar[bool] = True
    teaches: ClassVar[str | None] = "options"

    kind: Literal["conditional-logit"]
    common: int = 25

    @property
    def answers(self) -> bool:
        """By its options' scores."""
        return True

    @property
    def predicts(self) -> bool:
        """Options, and no token."""
        return False


@dataclass(frozen=True)
class OptionsBatch(Batch):
    """Questions with options: `target` holds the places of all options' features, `values` what multiplies their
    weights, `starts` `(options,)` where each option's begin, `sizes` `(questions,)` how many options a question has,
    and `labels` the right ones.
    """

    values: Tensor
    starts: Tensor
    sizes: Tensor


class OptionsBatches:
    """Questions in a shuffled order, each once an epoch."""

    def __init__(
        self,
        ids: Sequence[str],
        features: Sequence[list[Features]],
        answers: Sequence[int],
        stage: StageSpec,
        seed: int,
    ) -> None:
        if not ids:
            raise TrainingError(f"stage '{stage.name}': there are no questions with options to train on")
        self.ids = ids
        self.features = features
        self.answers = answers
        self.batch = stage.batch
        self.ranks = Ranks()
        self.whole = False
        # One length for all: a batch of questions of all lengths takes the time of any other.
        self.sampler = BatchSampler([1] * len(ids), stage.batch, accumulate=stage.accumulate, seed=seed)
        self.steps_per_epoch = self.sampler.steps_per_epoch
        self.counts = {"samples": len(ids), "truncated_sources": 0, "truncated_targets": 0}

    @property
    def epoch(self) -> float:
        """Epochs so far."""
        return self.sampler.epoch + self.sampler.position / self.steps_per_epoch

    def next(self) -> list[Batch]:
        """The rank's batches of the next step."""
        return self.ranks.laid_out(self.sampler.next_step(), self._laid_out)

    def once(self) -> Iterator[Batch]:
        """Every question once, in the order of the data."""
        for start in range(0, len(self.ids), self.batch):
            yield self._laid_out(range(start, min(start + self.batch, len(self.ids))))

    def peek(self, steps: int) -> list[list[Batch]]:
        """The batches of some steps of the first epoch."""
        spread = max(1, self.steps_per_epoch // steps)
        return [[self._laid_out(n) for n in step] for step in self.sampler.steps(0)[::spread]]

    def largest(self) -> Batch:
        """The questions with the most features, as one batch."""
        sizes = [sum(len(places) for places, _ in options) for options in self.features]
        return self._laid_out(sorted(range(len(sizes)), key=lambda i: -sizes[i])[: self.batch])

    def state(self) -> dict[str, int]:
        """Where the order stands."""
        return self.sampler.state()

    def restore(self, state: Mapping[str, int]) -> None:
        """Goes on where `state` stood."""
        self.sampler.restore(dict(state))

    def fingerprint(self) -> str:
        """A digest of all questions' ids, features and answers."""
        digest = hashlib.sha256()
        for own, options, answer in zip(self.ids, self.features, self.answers, strict=True):
            digest.update(f"{own} {answer}".encode())
            for places, values in options:
                digest.update(places.tobytes() + values.tobytes())
        return digest.hexdigest()[:16]

    def _laid_out(self, numbers: Sequence[int]) -> OptionsBatch:
        places, values, starts = laid_out([self.features[i] for i in numbers])
        return OptionsBatch(
            ids=tuple(self.ids[i] for i in numbers),
            source=None,
            source_mask=None,
            target=places,
            target_mask=None,
            labels=torch.tensor([self.answers[i] for i in numbers]),
            images=None,
            image_mask=None,
            image_sizes=None,
            instructions=None,
            tokens=len(places),
            labelled=len(numbers),
            values=values,
            starts=starts,
            sizes=torch.tensor([len(self.features[i]) for i in numbers]),
        )


class ConditionalLogitObjective(Objective):
    """The log-likelihood of the right option."""

    spec: ClassVar[type[ObjectiveSpec]] = ConditionalLogitObjectiveSpec
    methods: ClassVar[tuple[str, ...]] = ("forward",)

    def identity(self) -> list[object]:
        """The model, and whether it sees."""
        return [self.setting.spec.model_dump(mode="json"), self.setting.images]

    @property
    def own(self) -> ConditionalLogitObjectiveSpec:
        """The spec of this objective's fields."""
        assert isinstance(self.stage.objective, ConditionalLogitObjectiveSpec)
        return self.stage.objective

    def model(self) -> ModelSpec:
        """The model with what it remembers of the stage's data."""
        return with_memory(self.setting.spec, self._memory)

    def prepare(self, network: nn.Module) -> nn.Module:
        """The network with what it remembers, its weights as they were; the encoder learns nothing, and is rounded."""
        assert isinstance(network, ConditionalLogit)
        if isinstance(network.language, LanguageModel) and network.weight.device.type != "meta":
            network.language.eval()
            halve(network.language)
            self._encoder = TextStates(network.language, self.setting.tokenizer)
        return filled(network, self._memory)

    def answering(self) -> AnsweringSpec:
        """By the scores of the options."""
        return AnsweringSpec(images=self.setting.images)

    @cached_property
    def _known(self) -> list[Known]:
        questions = self._questions(self.stage.data)
        common = frozenset(common_words([e.question for e in questions if e.question], self.own.common))
        return [self._read(example, common) for example in questions]

    @cached_property
    def _memory(self) -> Mapping[str, Tensor]:
        return remembering(self._blank(), self._known, self._encoder or self._nothing)

    _encoder: Encode | None = None

    def _nothing(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors where there are no weights to make them: in a dry run, before anything is prepared."""
        language = self.setting.spec.language
        return np.zeros((len(texts), language.width if language is not None else 0), np.float32)

    def _questions(self, data: DataSpec) -> list[Example]:
        """The questions with options whose answer is known."""
        examples = self.setting.read(data)
        return [e for e in examples if e.question is not None and e.question.choices and e.question.answer is not None]

    def _read(self, example: Example, common: frozenset[int]) -> Known:
        assert example.question is not None
        wrong = -1.0 / max(1, len(example.question.choices) - 1)
        labels = tuple(1.0 if i == example.question.answer else wrong for i in range(len(example.question.choices)))
        image = example.images[0] if example.images and self.setting.images else None
        return Known(Asked(example.question, common), labels, image)

    def batches(self, data: DataSpec, images: ImageInputs) -> OptionsBatches:
        """Questions as features. Training questions, and others that repeat them, get no vote of their own."""
        network = filled(self._blank(), self._memory)
        examples = self._questions(data)
        common = network.words
        features: list[list[Features]] = []
        for example in examples:
            known = self._read(example, common)
            said = network.features(known.asked, known.image, learning=True, encode=self._encoder or self._nothing)
            features.append([(places.astype(np.int32), values) for places, values in said])
        answers = [e.question.answer or 0 for e in examples if e.question is not None]
        return OptionsBatches([e.id for e in examples], features, answers, self.stage, self.setting.seed)

    def _blank(self) -> ConditionalLogit:
        options = self.setting.spec.options
        assert options is not None
        return ConditionalLogit(options)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The cross-entropy of the right options, summed (nats)."""
        assert isinstance(batch, OptionsBatch)
        scores = model(batch.target.long(), batch.values, batch.starts)
        return Loss(F.cross_entropy(padded(scores, batch.sizes), batch.labels, reduction="sum"), batch.labelled)
