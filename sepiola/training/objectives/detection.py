"""Detection: teaches a vision encoder to tell what is in a picture before it is frozen, as DETR was taught (arXiv
2005.12872).

Each feature of the vision encoder (a query of DETR) names one object: its kind and its other traits, by a linear
classifier; features beyond the objects say `none`. Objects come in a fixed order, so no matching is needed and
no boxes are used. The classifier is thrown away with the stage; what stays is the vision encoder.

Of a dataset that lists no objects, the answers to its recurring questions are what the vision encoder learns to tell.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepiola.data.batching import IGNORED, Batch, Sample
from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.models.build import outline
from sepiola.models.multimodal.vision_language import VisionLanguageModel
from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec, TransformerSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.training.batches import ImageInputs, SampleBatches
from sepiola.training.collate import text_collator
from sepiola.training.loss import Loss
from sepiola.training.objectives.contract import Objective

KIND, NONE = "kind", "none"
RECURS = 8  # a question asked less often is no trait: nothing general is learned from so few answers


def pictures(examples: Sequence[Example]) -> list[Example]:
    """The examples that list their objects, as they are; where none does, one example a picture, which is one object.

    Its traits are the questions that the dataset asks of at least eight pictures and answers in more than one way,
    and their values the answers' texts. Pictures of which no such question is asked are left out.
    """
    listed = [e for e in examples if "objects" in e.metadata]
    if listed:
        return listed
    asked = [e for e in examples if len(e.images) == 1 and e.question and e.question.answer is not None]
    answers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for example in asked:
        answers[_question(example)][_answer(example)] += 1
    traits = {text for text, counts in answers.items() if len(counts) > 1 and counts.total() >= RECURS}
    by_picture: defaultdict[str, list[Example]] = defaultdict(list)
    for example in asked:
        if _question(example) in traits:
            by_picture[example.images[0].digest].append(example)
    return [
        replace(same[0], metadata={**same[0].metadata, "objects": [{KIND: "picture"} | _answered(same)]})
        for same in by_picture.values()
    ]


def _answered(examples: Sequence[Example]) -> dict[str, str]:
    return {_question(e): _answer(e) for e in examples}


def _question(example: Example) -> str:
    assert example.question is not None
    return f"question: {example.question.text}"


def _answer(example: Example) -> str:
    assert example.question is not None and example.question.answer is not None
    return example.question.choices[example.question.answer]


@dataclass(frozen=True)
class Traits:
    """Every trait with its values, in a fixed order: what the classifiers tell apart."""

    values: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Traits:
        """The traits of the examples' objects. Raises DataError when no example has any."""
        values: dict[str, set[str]] = {}
        for example in examples:
            for item in example.metadata.get("objects", ()):
                for trait, value in item.items():
                    values.setdefault(trait, set()).add(value)
        if KIND not in values:
            raise DataError(
                "detection needs examples whose metadata lists 'objects', each with its 'kind', or questions that "
                f"recur over at least {RECURS} pictures"
            )
        values[KIND].add(NONE)
        return cls({trait: tuple(sorted(values[trait])) for trait in sorted(values)})

    def sample(self, example: Example, queries: int) -> Sample:
        """The example with one class number for each query and trait as its target, -100 where there is none.

        Raises DataError when it has more objects than the vision encoder has queries.
        """
        objects = example.metadata.get("objects", ())
        if len(objects) > queries:
            raise DataError(f"{example.id}: {len(objects)} objects, but the vision encoder has {queries} queries")
        padded = [*objects, *[{KIND: NONE}] * (queries - len(objects))]
        target = [
            values.index(item[trait]) if trait in item else IGNORED
            for item in padded
            for trait, values in self.values.items()
        ]
        return Sample(example.id, (), target, example.images)


class Detector(VisionLanguageModel):
    """A vision encoder under one classifier of every trait. `spec` is the language model's, which batching asks for its
    tokens.
    """

    interleaved = False
    vision: VisionEncoder

    def __init__(self, vision: VisionEncoder, traits: Traits, spec: TransformerSpec, seed: int = 0) -> None:
        super().__init__(None, None, vision)
        self._spec = spec
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.classes = [len(values) for values in traits.values.values()]
            self.classifier = nn.Linear(vision.width, sum(self.classes))  # one matrix: many small ones cost more

    @property
    def spec(self) -> TransformerSpec:
        return self._spec

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """For each trait, logits `(batch, queries, values)`."""
        return list(self.classifier(self.vision(pixels)).split(self.classes, dim=-1))


class DetectionSpec(ObjectiveSpec):
    """Teaches the vision encoder alone to tell what is in a picture."""

    encodes: ClassVar[bool] = True

    kind: Literal["detection"]

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError for a stage that teaches more than the vision encoder, and for a model without one."""
        if stage.learn != ("vision",):
            raise ValueError(f"'{stage.name}': detection teaches the vision encoder alone: set learn: [vision]")
        if model.vision is None:
            raise ValueError(f"'{stage.name}': detection teaches a vision encoder; name one in model.vision")

    def needs_images(self, model: ModelSpec, stage: StageSpec) -> bool:
        """Always: a blind model has no vision encoder to teach."""
        return True


class Detection(Objective):
    """The cross-entropy of every trait of every object. What is kept is the vision encoder."""

    spec: ClassVar[type[ObjectiveSpec]] = DetectionSpec
    methods: ClassVar[tuple[str, ...]] = ("forward",)

    def identity(self) -> list[object]:
        """The vision encoder alone: models with other bridges may begin with it."""
        assert self.setting.spec.vision is not None
        return [self.setting.spec.vision.model_dump(mode="json")]

    @cached_property
    def traits(self) -> Traits:
        """What the classifiers tell apart: the traits of the stage's training data."""
        return Traits.of(pictures(self.setting.read(self.stage.data)))

    @property
    def language(self) -> TransformerSpec:
        """The recipe's language model, whose tokens batches are laid out with."""
        assert self.setting.spec.language is not None
        return self.setting.spec.language

    def prepare(self, network: nn.Module) -> Detector:
        """The network's vision encoder under classifiers; training it trains the network's own."""
        assert isinstance(network, VisionLanguageModel) and network.vision is not None
        return Detector(network.vision, self.traits, self.language, self.setting.seed)

    def kept(self, trained: nn.Module) -> tuple[nn.Module, ModelSpec]:
        """The vision encoder."""
        assert isinstance(trained, Detector)
        spec = self.setting.spec
        return trained.vision, ModelSpec(name=spec.name, vision=spec.vision)

    def batches(self, data: DataSpec, images: ImageInputs) -> SampleBatches:
        """Pictures with the classes of their objects, none of which may be cut."""
        detector = self.prepare(outline(self.setting.spec))
        patches = detector.vision.patches
        samples = [self.traits.sample(example, patches) for example in pictures(self.setting.read(data))]
        collate = text_collator(detector, self.language, self.stage, images)
        room = (self.stage.source_tokens, sys.maxsize)
        return SampleBatches(samples, self.stage, self.language, collate, seed=self.setting.seed, room=room)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """See `detection`."""
        return detection(model, batch)


def detection(model: nn.Module, batch: Batch) -> Loss:
    """The loss summed over all traits that are known, and the share of them that is right."""
    assert batch.images is not None
    logits = model(batch.images)
    labels = batch.labels.view(len(batch.ids), -1, len(logits))
    losses = [
        F.cross_entropy(scores.float().flatten(0, 1), labels[..., i].flatten(), ignore_index=IGNORED, reduction="sum")
        for i, scores in enumerate(logits)
    ]
    return Loss(torch.stack(losses).sum(), batch.labelled)
