"""The vision encoder of a whole model, taken out of its checkpoint: its spec, its family at the Hub, and its tensors
alone.
"""

from __future__ import annotations

from sepiola.checkpoints.lazy import LazyTensors, renamed
from sepiola.errors import CheckpointError
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import VisionSpec, ViTSpec

PREFIX = "vision."


def family_of(vision: VisionSpec) -> str:
    """The family in whose layout a vision encoder is written."""
    if not isinstance(vision, ViTSpec):
        return vision.kind
    return "clip" if vision.input_norm else "vit" if vision.class_token else "siglip"


def vision_part(spec: ModelSpec, state: LazyTensors, source: str) -> tuple[ModelSpec, LazyTensors]:
    """The vision encoder of a model as a model of its own; nothing else is read. Raises CheckpointError when there is
    none.
    """
    if spec.vision is None:
        raise CheckpointError(f"{source}: '{spec.name}' holds no vision encoder")
    if spec.language is None:
        return spec, state
    alone = ModelSpec(name=spec.name, family=family_of(spec.vision), vision=spec.vision)
    return alone, renamed(state, lambda name: name.removeprefix(PREFIX) if name.startswith(PREFIX) else None)
