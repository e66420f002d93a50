"""Before the first step: which parts learn, how weights decay, and whether the samples fit the model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from sepiola.data.batching import Sample
from sepiola.errors import TrainingError
from sepiola.specs.model import TransformerSpec
from sepiola.specs.recipe import StageSpec


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """The parts of a model by name; a model without parts is all language."""
    found = {name: getattr(model, name, None) for name in ("language", "vision", "bridge")}
    parts = {name: part for name, part in found.items() if part is not None}
    return parts if "language" in parts or "vision" in parts else {"language": model}


def choose_parts(model: nn.Module, stage: StageSpec) -> None:
    """Freezes the parts that the stage does not name.

    A frozen part is in evaluation mode too: no dropout, and running statistics stand still. Raises TrainingError
    when nothing would learn.
    """
    parts = parts_of(model)
    model.train()
    for name, part in parts.items():
        part.requires_grad_(name in stage.learn)
        part.train(name in stage.learn)
    if not any(p.requires_grad for p in model.parameters()):
        raise TrainingError(
            f"stage '{stage.name}': nothing would learn; learn names {', '.join(stage.learn)}, the model has "
            f"{', '.join(parts)}"
        )


def optimizer_for(model: nn.Module, stage: StageSpec) -> torch.optim.AdamW:
    """AdamW over what learns. Matrices decay; norms and biases, which have one dimension, do not."""
    learning = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learning if p.dim() > 1], "weight_decay": stage.weight_decay},
        {"params": [p for p in learning if p.dim() <= 1], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda") for p in learning)
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=stage.learning_rate, betas=stage.betas, fused=fused)


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
        longest = sample.length if spec.kind == "decoder" else max(len(sample.source), len(sample.target))
        if learned is not None and longest > learned:
            raise TrainingError(
                f"sample {sample.id}: {longest} tokens, and the model has {learned} positions; lower "
                "source_tokens or target_tokens"
            )
