"""Stages and trainers of small models on samples made by hand: what the tests of training share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from sepiola.data.batching import FeatureRows, Noise, Pixels, Row, Sample
from sepiola.data.example import Example
from sepiola.reasoning.answer import Answer
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import StageSpec
from sepiola.specs.strategy import StrategySpec
from sepiola.text.chat import ChatTemplate
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.batches import ImageInputs, SampleBatches
from sepiola.training.collate import text_collator
from sepiola.training.lora import begin_learning
from sepiola.training.objectives import objective_specs
from sepiola.training.objectives.writing import language_modelling
from sepiola.training.trainer import Trainer

OPTIMIZER = ("learning_rate", "final_learning_rate", "schedule", "warmup", "weight_decay", "betas", "clip")


def stage_of(**raw: Any) -> StageSpec:
    """A stage whose optimizer's keys stand beside the others."""
    optimizer = {key: raw.pop(key) for key in OPTIMIZER if key in raw}
    base = {"name": "answer", "data": {"reader": "none"}, "optimizer": {**optimizer, **raw.pop("optimizer", {})}}
    return StageSpec.parse({**base, **raw}, kinds=objective_specs())


def text_batches(
    model: Any,
    stage: StageSpec,
    samples: Sequence[Sample | Row],
    *,
    features: FeatureRows | None = None,
    pixels: Pixels | None = None,
    noise: Noise | None = None,
    seed: int = 0,
) -> SampleBatches:
    """The samples as batches for the model."""
    collate = text_collator(model, model.spec, stage, ImageInputs(features, pixels), noise)
    return SampleBatches(samples, stage, model.spec, collate, seed=seed)


def text_trainer(
    model: nn.Module,
    stage: StageSpec,
    samples: Sequence[Sample | Row],
    *,
    validation: Sequence[Sample | Row] = (),
    folder: Path,
    features: FeatureRows | None = None,
    pixels: Pixels | None = None,
    noise: Noise | None = None,
    seed: int = 0,
    **more: Any,
) -> Trainer:
    """A trainer of language modelling."""
    inputs: dict[str, Any] = {"features": features, "pixels": pixels, "noise": noise, "seed": seed}
    batches = text_batches(model, stage, samples, **inputs)
    held_out = text_batches(model, stage, validation, **inputs) if validation else None
    adapter = begin_learning(model, stage, seed)
    trainer: Any = Trainer(
        model, stage, language_modelling, batches, validation=held_out, folder=folder, seed=seed, **more
    )
    trainer.adapter = adapter
    return trainer


@dataclass
class ExampleSetting:
    """The setting of an objective over examples made by hand."""

    spec: ModelSpec
    tokenizer: Tokenizer
    examples: Sequence[Example]
    seed: int = 0
    images: bool = True
    qformer_tokenizer: Tokenizer | None = None
    template: ChatTemplate | None = None
    taught: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def read(self, data: DataSpec) -> list[Example]:
        return list(self.examples)

    def rationales(self, examples: Sequence[Example], *, generated: bool) -> Mapping[str, str]:
        return {}

    def rationales_key(self, *, generated: bool) -> str:
        return ""

    def trained(self, name: str) -> tuple[nn.Module, ModelSpec]:
        raise AssertionError("no stage was before")

    def answers(
        self, stage: str, examples: Sequence[Example], strategy: StrategySpec, network: nn.Module | None = None
    ) -> list[Answer]:
        raise AssertionError("no stage was before")

    def answers_key(self, stage: str) -> str:
        return stage

    def probabilities(self, teacher: str, examples: Sequence[Example]) -> Sequence[Sequence[float]]:
        return [self.taught[example.id] for example in examples]
