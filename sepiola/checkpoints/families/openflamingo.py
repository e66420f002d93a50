"""OpenFlamingo's checkpoints (arXiv 2308.01390): the trained part alone, which stands on a language model and CLIP.

A file holds the resampler (`perceiver.*`), the gated layers (`lang_encoder.gated_cross_attn_layers.N.*`, or within the
language model's own layers, `….N.gated_cross_attn_layer.*`), and mostly the input embedding, which grew by the tokens
`<|endofchunk|>` and `<image>`. The frozen rest comes of the base.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from sepiola.checkpoints import hub, store
from sepiola.checkpoints.lazy import LazyTensors, later, renamed
from sepiola.checkpoints.weights import check_tensors, unpickle
from sepiola.data.files import replacing
from sepiola.errors import CheckpointError
from sepiola.models.multimodal.cross import CrossModel
from sepiola.models.vocabulary import grow
from sepiola.specs.bricks import AttentionSpec
from sepiola.specs.bridge import GatedCrossSpec, ResamplerSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import ViTSpec

HEAD = 64
"""The width of a head, which the tensors do not say."""

_GATED = re.compile(r"lang_encoder\.(?:gated_cross_attn_layers\.(\d+)|.*\.(\d+)\.gated_cross_attn_layer)\.(.+)")
_EMBEDDING = re.compile(r"lang_encoder\..*(?:wte|embed_tokens|embed_in|embedding)\.weight")
_IGNORED = re.compile(r"lang_encoder\.old_decoder_blocks\.|vision_encoder\.")
_RESAMPLER = {
    "0.norm_media": "features_norm",
    "0.norm_latents": "latents_norm",
    "0.to_q": "attention.q",
    "0.to_kv": "attention.kv",
    "0.to_out": "attention.out",
    "1.0": "feed_forward_norm",
    "1.1": "feed_forward.up",
    "1.3": "feed_forward.down",
}
_LAYER = {
    "attn.norm": "attention_norm",
    "attn.to_q": "attention.q",
    "attn.to_kv": "attention.kv",
    "attn.to_out": "attention.out",
    "attn_gate": "attention_gate",
    "ff.0": "feed_forward_norm",
    "ff.1": "feed_forward.up",
    "ff.3": "feed_forward.down",
    "ff_gate": "feed_forward_gate",
}


def load(
    path: Path,
    *,
    language: Path,
    vision: Path,
    token: int,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> tuple[nn.Module, ModelSpec]:
    """The model that a checkpoint makes of its base, in eval mode, and its spec.

    `language` and `vision` are folders of the language model and of CLIP, in the Hub's layout or ours; `token` is the
    id of `<image>`. Raises CheckpointError when anything does not fit.
    """
    trained = _read(path)
    base, text_state = _base(language)
    image, image_state = _base(vision)
    if base.language is None or not isinstance(image.vision, ViTSpec):
        raise CheckpointError(f"{path}: its base is a language model and CLIP; got {language} and {vision}")
    state = {f"language.{name}": reads for name, reads in later(text_state).items()}
    state |= {f"vision.{name}": reads for name, reads in later(image_state).items()}
    state |= later(renamed(trained, _ours))
    embedding = [trained[name] for name in trained if _EMBEDDING.fullmatch(name)]
    spec = ModelSpec(
        name="openflamingo",
        family="openflamingo",
        language=base.language.model_copy(update={"vocabulary": len(embedding[0])}) if embedding else base.language,
        vision=image.vision.model_copy(update={"patch_features": True}),
        bridge=_bridge(trained, base.language.layers, token, path),
    )
    if embedding:
        state["language.embedding.weight"] = [lambda: embedding[0]]
        for name in ("head.projection.weight", "head.bias"):
            if name in text_state:
                state[f"language.{name}"] = [partial(_resized, text_state, name, len(embedding[0]))]
    return store.from_state(spec, LazyTensors(state), str(path), dtype=dtype, device=device), spec


def save(path: Path, model: CrossModel, *, embedding: str | None = None) -> None:
    """Writes the trained part of a model as OpenFlamingo reads it (`load_state_dict(…, strict=False)`).

    `embedding` is the language model's own name of its input embedding (`model.embed_tokens.weight` in LLaMA), which is
    written too; None leaves it out. Raises CheckpointError for a bridge that OpenFlamingo has no place for, and when
    the file cannot be written.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in model.bridge.state_dict().items():
        theirs = _theirs(name)
        if theirs is None:
            raise CheckpointError(f"{path}: OpenFlamingo has no tensor for bridge.{name}")
        state[theirs] = tensor.detach().cpu()
    if embedding is not None:
        state[f"lang_encoder.{embedding}"] = model.language.embedding.weight.detach().cpu()
    with replacing(path) as temporary:
        torch.save({"model_state_dict": state}, temporary)


def _read(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file, of data parallel training too, without those of the frozen base."""
    held = unpickle(path)
    inner = held.get("model_state_dict", held) if isinstance(held, Mapping) else held
    state = {name.removeprefix("module."): tensor for name, tensor in check_tensors(inner, path).items()}
    return {name: tensor for name, tensor in state.items() if not _IGNORED.match(name)}


def _base(folder: Path) -> tuple[ModelSpec, LazyTensors]:
    return store.read(folder) if (folder / store.SPEC).is_file() else hub.read(folder)


def _bridge(trained: Mapping[str, Tensor], layers: int, token: int, path: Path) -> GatedCrossSpec:
    """The bridge's spec, read off the tensors' shapes."""
    shapes = {ours: tensor.shape for name, tensor in trained.items() if (ours := _ours(name)) is not None}
    gated = sorted({int(name.split(".")[2]) for name in shapes if name.startswith("bridge.layers.")})
    every = gated[1] - gated[0] if len(gated) > 1 else layers
    if not gated or gated != list(range(gated[0], layers, every)) or "bridge.resampler.latents" not in shapes:
        raise CheckpointError(
            f"{path}: gated layers stand before layers {gated} of {layers}; expected every n-th of the base, and a "
            "perceiver: is this the language model that the checkpoint was trained on?"
        )
    latents, width = shapes["bridge.resampler.latents"]
    depth = 1 + max(int(name.split(".")[3]) for name in shapes if name.startswith("bridge.resampler.layers."))
    first, resampler = f"bridge.layers.{gated[0]}.", "bridge.resampler.layers.0."
    up, q = shapes[first + "feed_forward.up.weight"], shapes[first + "attention.q.weight"]
    return GatedCrossSpec(
        kind="gated-cross",
        token=token,
        every=every,
        first=gated[0],
        attention=AttentionSpec(heads=q[0] // HEAD, head_width=HEAD),
        expansion=up[0] // up[1],
        resampler=ResamplerSpec(
            latents=latents,
            depth=depth,
            attention=AttentionSpec(heads=shapes[resampler + "attention.q.weight"][0] // HEAD, head_width=HEAD),
            expansion=shapes[resampler + "feed_forward.up.weight"][0] // width,
            frames=shapes["bridge.resampler.times"][0] if "bridge.resampler.times" in shapes else 0,
        ),
    )


def _ours(name: str) -> str | None:
    """Our name of a trained tensor; None for the embedding, and for names that are no trained part."""
    if name in ("perceiver.latents", "perceiver.norm.weight", "perceiver.norm.bias"):
        return "bridge.resampler." + name.removeprefix("perceiver.")
    if name == "perceiver.frame_embs":
        return "bridge.resampler.times"
    if match := re.fullmatch(r"perceiver\.layers\.(\d+)\.(.+?)(\.weight|\.bias)", name):
        number, inner, kind = match.groups()
        return f"bridge.resampler.layers.{number}.{_RESAMPLER.get(inner, inner)}{kind}"
    if match := _GATED.fullmatch(name):
        number, inner = match[1] or match[2], match[3]
        stem, kind = (inner, "") if inner.endswith("_gate") else inner.rsplit(".", 1)
        return f"bridge.layers.{number}.{_LAYER.get(stem, stem)}{kind and '.' + kind}"
    return None if _EMBEDDING.fullmatch(name) else f"bridge.{name}"


def _theirs(name: str) -> str | None:
    """OpenFlamingo's name of a tensor of our bridge; None where it has none."""
    if name.startswith("resampler."):
        inner = name.removeprefix("resampler.")
        if inner == "times":
            return "perceiver.frame_embs"
        if not inner.startswith("layers."):
            return None if inner.startswith("into.") else f"perceiver.{inner}"
        _, number, inner = inner.split(".", 2)
        table, prefix = _RESAMPLER, f"perceiver.layers.{number}."
    elif name.startswith("layers."):
        _, number, inner = name.split(".", 2)
        table, prefix = _LAYER, f"lang_encoder.gated_cross_attn_layers.{number}."
    else:
        return None
    stem, dot, kind = (inner, "", "") if inner.endswith("_gate") else inner.rpartition(".")
    return next(f"{prefix}{theirs}{dot}{kind}" for theirs, ours in table.items() if ours == stem)


def _resized(state: Mapping[str, Tensor], name: str, rows: int) -> Tensor:
    """The output head for as many tokens."""
    return grow({name: state[name][:rows]}, rows)[name]
