"""The vision encoder of a whole model, taken out of its checkpoint: its spec and its tensors alone."""

from __future__ import annotations

from sepiola.checkpoints.lazy import LazyTensors, renamed
from sepiola.errors import CheckpointError
from sepiola.specs.model import ModelSpec

PREFIX = "vision."


def vision_part(spec: ModelSpec, state: LazyTensors, source: str) -> tuple[ModelSpec, LazyTensors]:
    """The vision encoder of a model as a model of its own; nothing else is read. Raises CheckpointError when there is
    none.
    """
    if spec.vision is None:
        raise CheckpointError(f"{source}: '{spec.name}' holds no vision encoder; leave vision_only out")
    if spec.language is None and spec.bridge is None:
        return spec, state
    alone = ModelSpec(name=spec.name, family=spec.vision.family, vision=spec.vision)
    return alone, renamed(state, lambda name: name.removeprefix(PREFIX) if name.startswith(PREFIX) else None)
