"""Before the first step: which parts learn."""

from __future__ import annotations

from torch import nn

from sepiola.errors import TrainingError
from sepiola.models.bridges.qformer import QFormer
from sepiola.models.classifier import Classifier
from sepiola.models.hashed_linear import HashedLinear
from sepiola.models.multimodal.vision_language import VisionLanguageModel
from sepiola.specs.stage import StageSpec


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """The parts of a model by name; a model without parts is all language."""
    return model.parts() if isinstance(model, VisionLanguageModel | Classifier | HashedLinear) else {"language": model}


def learning_parts(model: nn.Module, stage: StageSpec) -> dict[str, nn.Module]:
    """The parts that the stage teaches, by the names in `learn`."""
    parts = parts_of(model)
    bridge = parts.get("bridge")
    if isinstance(bridge, QFormer) and bridge.projection is not None:
        parts["projection"] = bridge.projection
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
