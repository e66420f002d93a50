"""Checkpoints in the Hub's layout: `config.json`, safetensors (one file or shards) or a PyTorch file.

`FAMILIES` maps a config's `model_type` to the module that knows its names. Loading is strict: a tensor that is
missing, or that nobody named, is an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from sepiola.checkpoints import bart, bert, clip, detr, gpt, llama, opt, resnet, t5, tasks, vit
from sepiola.checkpoints.preprocessor import preprocessor_from_pixels
from sepiola.checkpoints.store import from_state, make_folder, read_tensors, write_tensors, write_text
from sepiola.errors import CheckpointError
from sepiola.specs.base import nearest
from sepiola.specs.model import ModelSpec, VisionSpec, ViTSpec

FAMILIES: dict[str, ModuleType] = {
    "t5": t5,
    "bart": bart,
    "bert": bert,
    "openai-gpt": gpt,
    "gpt2": gpt,
    "opt": opt,
    **dict.fromkeys(("llama", "mistral", "mixtral", "qwen2", "qwen3", llama.GEMMA), llama),
    "vit": vit,
    "clip": clip,
    "clip_vision_model": clip,
    "detr": detr,
    "resnet": resnet,
}
_LAID_OUT_AS = {"flan-t5": "t5", "mm-cot": "t5"}  # our families that share another's layout
EYE = "vision"


def _family_of_eye(vision: VisionSpec) -> str:
    return "clip" if isinstance(vision, ViTSpec) and vision.input_norm else vision.kind


def load(folder: Path) -> tuple[nn.Module, ModelSpec]:
    """The model of a Hub folder, in eval mode, and its spec. Raises CheckpointError when anything does not fit."""
    config = _read_json(folder / "config.json")
    family = _family(config, folder)
    state = read_state(folder)
    spec: ModelSpec = family.spec_from_config(config, state, preprocessor=_preprocessor(folder))
    if not (folder / EYE).is_dir():
        return from_state(spec, family.to_ours(state, spec), str(folder)), spec
    eye, seen = load(folder / EYE)
    whole = spec.model_copy(update={"vision": seen.vision})
    tensors = {**family.to_ours(state, spec), **{f"vision.{name}": value for name, value in eye.state_dict().items()}}
    return from_state(whole, tensors, str(folder)), whole


def save(folder: Path, model: Any, spec: ModelSpec) -> None:
    """Writes the model so that `transformers` (or, for Multimodal-CoT, the reference code) loads it.

    The reference's layout has no place for the eye: it goes to the folder `vision`, in its own family's layout.
    """
    layout = _LAID_OUT_AS.get(spec.family, spec.family)
    if layout not in FAMILIES:
        raise CheckpointError(f"family '{spec.family}' has no Hub layout; {nearest(spec.family, FAMILIES)}")
    family: Any = FAMILIES[layout] if spec.task is None else tasks.Headed(FAMILIES[layout])
    config = family.config_from_spec(spec)
    make_folder(folder)
    state = model.state_dict()
    if spec.vision is not None and spec.language is not None:
        eye = ModelSpec(name=spec.vision.kind, family=_family_of_eye(spec.vision), vision=spec.vision)
        save(folder / EYE, model.vision, eye)
        state = {name: value for name, value in state.items() if not name.startswith("vision.")}
    elif spec.vision is not None:
        preprocessor = preprocessor_from_pixels(spec.vision.pixels)
        write_text(folder / "preprocessor_config.json", json.dumps(preprocessor, indent=2))
    write_tensors(folder / "model.safetensors", family.to_hub(state, spec), metadata={"format": "pt"})
    write_text(folder / "config.json", json.dumps(config, indent=2))


def fetch(name: str) -> Path:
    """The folder of a Hub id, downloaded or from the cache (`HF_HUB_OFFLINE` honoured).

    Raises CheckpointError when it is neither a folder nor to be had.
    """
    from huggingface_hub import snapshot_download

    try:
        patterns = ["*.safetensors", "*.json", "pytorch_model*.bin"]
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the hub client's errors share no base
        raise CheckpointError(
            f"'{name}' is no folder here, and could not be fetched as a Hub id ({type(error).__name__}: {error}); "
            "check the spelling, or give the path of a checkpoint folder"
        ) from None


def read_state(folder: Path) -> dict[str, Tensor]:
    """All tensors of a Hub folder: shards by their index, one safetensors file, or `pytorch_model.bin`."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        state: dict[str, Tensor] = {}
        for shard in sorted(set(_read_json(index)["weight_map"].values())):
            state |= read_tensors(folder / shard)
        return state
    if (folder / "model.safetensors").is_file():
        return read_tensors(folder / "model.safetensors")
    pickled = folder / "pytorch_model.bin"
    if pickled.is_file():
        try:
            loaded: dict[str, Tensor] = torch.load(pickled, map_location="cpu", weights_only=True)
        except Exception as error:  # pickle, zip and torch raise many kinds
            raise CheckpointError(f"{pickled}: damaged or cut short ({error}); fetch it again") from None
        return loaded
    raise CheckpointError(f"{folder}: no weights; expected model.safetensors, its shards, or pytorch_model.bin")


def _family(config: Mapping[str, Any], folder: Path) -> Any:
    kind = str(config.get("model_type"))
    if kind not in FAMILIES:
        raise CheckpointError(f"{folder}/config.json: model_type '{kind}' is not supported; {nearest(kind, FAMILIES)}")
    return tasks.Headed(FAMILIES[kind]) if tasks.has_head(config) else FAMILIES[kind]


def _preprocessor(folder: Path) -> dict[str, Any] | None:
    path = folder / "preprocessor_config.json"
    return _read_json(path) if path.is_file() else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return raw
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; expected a Hub checkpoint folder") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from None
