"""Before the first step: which parts learn, how samples become batches, and whether they fit the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from sepiola.data.batching import Collator, FeatureRows, Noise, Pixels, Row, Sample
from sepiola.data.classification import TaskCollator, TaskSample
from sepiola.data.pairs import PairCollator
from sepiola.errors import TrainingError
from sepiola.specs.model import TransformerSpec
from sepiola.specs.recipe import StageSpec
from sepiola.text.encoding import instructed


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """The parts of a model by name; a model without parts is all language."""
    found = {name: getattr(model, name, None) for name in ("language", "vision", "bridge")}
    parts = {name: part for name, part in found.items() if part is not None}
    return parts if "language" in parts or "vision" in parts else {"language": model}


def learning_parts(model: nn.Module, stage: StageSpec) -> dict[str, nn.Module]:
    """The parts that the stage teaches, by the names in `learn`."""
    parts = parts_of(model)
    projection = getattr(parts.get("bridge"), "projection", None)
    if projection is not None:
        parts["projection"] = projection
    return {name: part for name, part in parts.items() if name in stage.learn}


def choose_parts(model: nn.Module, stage: StageSpec) -> None:
    """Freezes the parts that the stage does not name.

    A frozen part is in evaluation mode too: no dropout, and running statistics are kept. Raises TrainingError
    when nothing would learn.
    """
    parts = parts_of(model)
    model.train()
    for part in parts.values():
        part.requires_grad_(False).eval()
    for part in learning_parts(model, stage).values():
        part.requires_grad_(True).train()
    if not any(p.requires_grad for p in model.parameters()):
        raise TrainingError(
            f"stage '{stage.name}': nothing would learn; learn names {', '.join(stage.learn)}, the model has "
            f"{', '.join(parts)}"
        )


def collator_for(
    model: Any,
    stage: StageSpec,
    features: FeatureRows | None = None,
    pixels: Pixels | None = None,
    noise: Noise | None = None,
) -> Collator:
    """What lays the stage's samples out for the model."""
    spec: TransformerSpec = model.spec
    if stage.task is not None:
        return TaskCollator(
            spec.tokens,
            model.task.tokens,
            causal=spec.kind == "decoder",
            packed=stage.packed,
            source_tokens=stage.source_tokens,
        )
    if stage.objective == "contrastive":
        return PairCollator(spec.tokens, length=model.text_length, features=features, pixels=pixels)
    return Collator(
        spec.tokens,
        kind=spec.kind,
        packed=stage.packed,
        source_tokens=stage.source_tokens,
        target_tokens=stage.target_tokens,
        features=features,
        pixels=pixels,
        noise=noise,
        patches=model.vision.patches if getattr(model, "interleaved", False) and model.vision is not None else None,
        sizes=model.sizes if getattr(model, "interleaved", False) else None,
        instruction_pad=read.pad if (read := instructed(model)) is not None else 0,
    )


def check_lengths(spec: TransformerSpec, samples: Sequence[Sample | Row]) -> None:
    """Raises TrainingError when a sample has more tokens than the positions, or a token outside the
    vocabulary.
    """
    learned = spec.positions.length if spec.positions.kind == "learned" else None
    for sample in (part for whole in samples for part in whole.parts):
        largest = max(max(ids) for ids in (sample.source, sample.target) if len(ids))
        if largest >= spec.vocabulary:
            raise TrainingError(
                f"sample {sample.id}: token {largest} is outside the model's vocabulary of "
                f"{spec.vocabulary}; the tokenizer is another model's"
            )
        read = max(1, len(sample.source))
        if isinstance(sample, TaskSample):
            longest = sample.positions
        else:
            longest = read + len(sample.target) - 1 if spec.kind == "decoder" else max(read, len(sample.target))
        if learned is not None and longest > learned:
            raise TrainingError(
                f"sample {sample.id}: {longest} tokens, and the model has {learned} positions; lower "
                "source_tokens or target_tokens"
            )
