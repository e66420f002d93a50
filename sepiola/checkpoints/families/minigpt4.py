"""MiniGPT-4 (arXiv 2304.10592): its own file holds the one layer that learned, `llama_proj`, and nothing else.

The vision encoder and the Q-Former are of a BLIP-2 folder in the Hub's layout, the language model of a LLaMA folder
(Vicuna, LLaMA-2). Over LLaMA-2 there is no Q-Former: the layer reads four neighbouring patches side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from sepiola.checkpoints import hub
from sepiola.checkpoints.families import blip2, llama
from sepiola.checkpoints.family import Family
from sepiola.checkpoints.files import read_json
from sepiola.checkpoints.lazy import LazyTensors, Pieces, later
from sepiola.checkpoints.registry import FAMILIES
from sepiola.checkpoints.store import from_state
from sepiola.checkpoints.weights import check_tensors, unpickle
from sepiola.errors import CheckpointError
from sepiola.specs.bridge import ProjectionSpec, QFormerSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import ViTSpec

PLACEHOLDER = 3  # LLaMA's token of the byte 0, which no text holds
NEIGHBOURS = 4
_LAYER = "llama_proj."


def load(
    vision: Path,
    language: Path,
    projection: Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> tuple[nn.Module, ModelSpec]:
    """The model of three checkpoints, in eval mode, and its spec; whether it has a Q-Former the layer's width tells.

    Raises CheckpointError when one is damaged or they do not fit each other.
    """
    blip, blip_state = _read(vision, blip2)
    text, text_state = _read(language, llama)
    layer = read_projection(projection)
    encoder = blip.vision
    assert isinstance(encoder, ViTSpec)
    bridge: QFormerSpec | ProjectionSpec
    if layer["weight"].shape[1] == NEIGHBOURS * encoder.width:
        encoder = encoder.model_copy(update={"patch_features": True})
        bridge = ProjectionSpec(kind="projection", token=PLACEHOLDER, neighbours=NEIGHBOURS)
        name = "bridge.layers.0."
    else:
        assert isinstance(blip.bridge, QFormerSpec)
        bridge = blip.bridge.model_copy(update={"token": PLACEHOLDER})
        name = "bridge.projection."
    spec = ModelSpec(name="minigpt-4", family="minigpt-4", vision=encoder, bridge=bridge, language=text.language)
    kept = "vision." if isinstance(bridge, ProjectionSpec) else ("vision.", "bridge.")
    state: dict[str, Pieces] = {key: read for key, read in later(blip_state).items() if key.startswith(kept)}
    state |= {f"language.{key}": read for key, read in later(text_state).items()}
    state |= {f"{name}{key}": read for key, read in later(layer).items()}
    return from_state(spec, LazyTensors(state), str(projection), dtype=dtype, device=device), spec


def read_projection(path: Path) -> dict[str, Tensor]:
    """The layer's `weight` `(width, what it reads)` and `bias`. Raises CheckpointError when the file holds none."""
    held = unpickle(path)
    state = check_tensors(held.get("model", held) if isinstance(held, Mapping) else held, path)
    tensors = {key.removeprefix(_LAYER): value for key, value in state.items() if key.startswith(_LAYER)}
    if set(tensors) != {"weight", "bias"}:
        raise CheckpointError(
            f"{path}: expected {_LAYER}weight and {_LAYER}bias under 'model', found {', '.join(state) or 'nothing'}"
        )
    return tensors


def _read(folder: Path, family: Family) -> tuple[ModelSpec, LazyTensors]:
    """A folder by the family that its place asks for. Raises CheckpointError when it holds another."""
    config = read_json(folder / hub.CONFIG)
    expected = FAMILIES.get(str(config.get("model_type")))
    if expected is not family:
        raise CheckpointError(
            f"{folder}/{hub.CONFIG}: model_type is {config.get('model_type')!r}; MiniGPT-4 stands on a BLIP-2 (vision) "
            "and a LLaMA (language)"
        )
    return hub.read(folder)
