"""Generate and rate: one decoder writes replies and says what is right or wrong about them (LaMDA, arXiv 2201.08239).

Of a turn it learns the reply alone, of a rated reply the rating alone. Examples are dialogues: messages and the next
turn, and in `metadata["ratings"]` what the turn is, an attribute's name to 0 or 1. A turn that is rated badly is rated
and never learned as a reply.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveFloat, field_validator

from sepiola.data.batching import IGNORED, Batch, Sample
from sepiola.data.example import Example
from sepiola.errors import TrainingError, shown
from sepiola.models.states import target_states
from sepiola.nn.loss import linear_cross_entropy
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.rating import AttributeSpec, each_once
from sepiola.specs.recipe import AnsweringSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.text.processor import Processor
from sepiola.text.rated_dialogue import RESPONSE, RatedDialogue, dialogue_template, end_token
from sepiola.text.rated_replies import ratings_of
from sepiola.training.experts import routed, routing_loss
from sepiola.training.loss import Loss
from sepiola.training.objectives.writing import Writing

WRITTEN = "written"
"""The key of metadata that says of a reply that a model wrote it."""


class RatingSpec(ObjectiveSpec):
    """`attributes` are what replies are rated by; with none the model learns replies alone. A rating is one token
    beside the dozens of a reply: it counts `rating_weight` times.
    """

    attributes: tuple[AttributeSpec, ...] = ()
    rating_weight: PositiveFloat = Field(default=1.0, le=1e4)

    @field_validator("attributes")
    @classmethod
    def _once(cls, attributes: tuple[AttributeSpec, ...]) -> tuple[AttributeSpec, ...]:
        return each_once(attributes)

    @property
    def answers(self) -> bool:
        """In dialogues."""
        return True

    @property
    def rates(self) -> bool:
        """By its attributes, if it has any."""
        return bool(self.attributes)

    def tokens(self) -> list[str]:
        """One before replies, and one an attribute."""
        return [RESPONSE, *(attribute.token for attribute in self.attributes)]

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError for a model that is no decoder of text."""
        super().check(model, stage)
        if model.language is None or model.language.kind != "decoder" or model.bridge is not None:
            raise ValueError(f"'{stage.name}': {self.kind} is for a decoder without pictures")


class GenerateAndRateSpec(RatingSpec):
    """The data's replies and ratings."""

    kind: Literal["generate-and-rate"]


class GenerateAndRate(Writing):
    """The cross-entropy of replies, and of ratings."""

    spec: ClassVar[type[ObjectiveSpec]] = GenerateAndRateSpec

    @classmethod
    def texts(cls, stage: StageSpec, example: Example) -> Iterable[str]:
        """Every turn."""
        return [*(message.text for message in example.messages), example.target]

    @property
    def own(self) -> RatingSpec:
        """The spec of this objective's fields."""
        assert isinstance(self.stage.objective, RatingSpec)
        return self.stage.objective

    @cached_property
    def layout(self) -> RatedDialogue:
        """How dialogues are read."""
        return RatedDialogue.of(self.setting.tokenizer, self.own.attributes, self.language.tokens.end)

    def processor(self, processor: Processor) -> Processor:
        """With the layout as a chat template, and with the attributes."""
        template = dialogue_template(end_token(self.setting.tokenizer, self.language.tokens.end))
        return dataclasses.replace(processor, template=template, attributes=self.own.attributes)

    def answering(self) -> AnsweringSpec:
        """As a chat."""
        return self.replying()

    def replying(self) -> AnsweringSpec:
        """As a chat."""
        return super().replying().model_copy(update={"layout": "chat"})

    def examples(self, data: DataSpec) -> list[Example]:
        """What the data have."""
        return self.setting.read(data)

    def samples(self, data: DataSpec) -> list[Sample]:
        """Replies and ratings. Raises TrainingError where the stage learns from data that do not rate an attribute
        which counts.
        """
        examples = self.examples(data)
        if data == self.stage.data:
            check_rated(self.own.attributes, examples, self.stage.name)
        return samples_of(examples, self.own.attributes, self.layout)

    def loss(self, model: Any, batch: Batch) -> Loss:
        """The sum over replies' tokens, and over ratings times their weight."""
        with routed(model) as router_logits:
            states = target_states(model, batch)
        states, matrix = model.head.operands(states)
        attributes = torch.tensor([*self.layout.attributes.values()], device=batch.target.device)
        rated = torch.isin(batch.target, attributes) & (batch.labels != IGNORED)
        parts, extra = dict[str, torch.Tensor](), states.new_zeros((), dtype=torch.float32)
        extra = extra + batch.labelled * routing_loss(router_logits, batch, model.spec.feed_forward)
        for name, here, weight in (("replies", ~rated, 1.0), ("ratings", rated, self.own.rating_weight)):
            labels = torch.where(here, batch.labels, IGNORED)
            loss, z_loss = linear_cross_entropy(states, matrix, labels, z_loss=model.spec.head.z_loss)
            parts[name], extra = weight * (loss - z_loss), extra + z_loss
        total = parts["replies"] + parts["ratings"]
        return Loss(total, batch.labelled, extra, {name: part.detach() for name, part in parts.items()})


def samples_of(examples: Sequence[Example], attributes: Sequence[AttributeSpec], layout: RatedDialogue) -> list[Sample]:
    """A sample of each reply that is not rated badly and that no model has `WRITTEN`, and one of each rating of these
    attributes.
    """
    known = {attribute.name: attribute for attribute in attributes}
    samples = []
    for example, reply in zip(examples, layout.texts([e.target for e in examples]), strict=True):
        context, ratings = layout.context(example.messages), ratings_of(example)
        if not example.metadata.get(WRITTEN) and all(
            value == (known[name].good if name in known else 1) for name, value in ratings.items()
        ):
            samples.append(Sample(example.id, context, (*reply, layout.end)))
        for name, value in ratings.items():
            if name in known:
                rated = (*context, *reply, layout.attributes[name])
                samples.append(Sample(f"{example.id}: {name}", rated, (layout.ratings[value],)))
    return samples


def check_rated(attributes: Sequence[AttributeSpec], examples: Sequence[Example], stage: str) -> None:
    """Raises TrainingError for an attribute that counts in ranking or dropping, and of which no honest label is there:
    both ratings must be.
    """
    for attribute in attributes:
        there = {value for example in examples if (value := ratings_of(example).get(attribute.name)) is not None}
        if len(there) < 2 and (attribute.weight > 0 or attribute.threshold is not None):
            raise TrainingError(
                f"stage '{stage}': {attribute.name} counts (weight {attribute.weight:g}, threshold "
                f"{attribute.threshold}), and the data rate it {shown(sorted(there)) if there else 'nowhere'}; "
                "expected both 0 and 1: give data that do, or weight: 0 and no threshold"
            )
