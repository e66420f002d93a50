"""Before the first step: which parts learn, how weights decay, how samples become batches, and whether they fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sepiola.data.batching import Collator, FeatureRows, Sample
from sepiola.data.image import ImageRef
from sepiola.data.tasks import TaskCollator, TaskSample
from sepiola.errors import TrainingError
from sepiola.specs.model import TransformerSpec
from sepiola.specs.recipe import StageSpec


def choose_parts(model: nn.Module, stage: StageSpec) -> list[nn.Parameter]:
    """Freezes the parts that the stage does not name and returns the parameters that learn.

    A frozen part is in evaluation mode too: no dropout, and running statistics stand still. A model without
    parts is all language. Raises TrainingError when nothing would learn.
    """
    parts = {name: getattr(model, name, None) for name in ("language", "vision", "bridge")}
    if parts["language"] is None and parts["vision"] is None:
        parts = {"language": model}
    model.train()
    for name, part in parts.items():
        if part is not None:
            part.requires_grad_(name in stage.learn)
            part.train(name in stage.learn)
    learning = [p for p in model.parameters() if p.requires_grad]
    if not learning:
        present = [name for name, part in parts.items() if part is not None]
        raise TrainingError(
            f"stage '{stage.name}': nothing would learn; learn names {', '.join(stage.learn)}, the model has "
            f"{', '.join(present)}"
        )
    return learning


def optimizer_for(model: nn.Module, stage: StageSpec) -> torch.optim.AdamW:
    """AdamW over what learns. Matrices decay; norms and biases, which have one dimension, do not."""
    learning = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learning if p.dim() > 1], "weight_decay": stage.weight_decay},
        {"params": [p for p in learning if p.dim() <= 1], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda") for p in learning)
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=stage.learning_rate, betas=stage.betas, fused=fused)


def collator_for(
    model: Any,
    stage: StageSpec,
    features: FeatureRows | None = None,
    pixels: Callable[[ImageRef], Tensor] | None = None,
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
    return Collator(
        spec.tokens,
        decoder_only=spec.kind == "decoder",
        packed=stage.packed,
        source_tokens=stage.source_tokens,
        target_tokens=stage.target_tokens,
        features=features,
        pixels=pixels,
    )


def check_lengths(spec: TransformerSpec, samples: Sequence[Sample]) -> None:
    """Raises TrainingError when a sample has more tokens than the positions, or a token outside the
    vocabulary.
    """
    learned = spec.positions.length if spec.positions.kind == "learned" else None
    for sample in samples:
        largest = max((*sample.source, *sample.target))
        if largest >= spec.vocabulary:
            raise TrainingError(
                f"sample {sample.id}: token {largest} is outside the model's vocabulary of "
                f"{spec.vocabulary}; the tokenizer is another model's"
            )
        if isinstance(sample, TaskSample):
            longest = sample.positions
        else:
            longest = sample.length if spec.kind == "decoder" else max(len(sample.source), len(sample.target))
        if learned is not None and longest > learned:
            raise TrainingError(
                f"sample {sample.id}: {longest} tokens, and the model has {learned} positions; lower "
                "source_tokens or target_tokens"
            )
