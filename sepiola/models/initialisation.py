"""Fresh weights of a language model."""

from __future__ import annotations

import torch
from torch import nn

from sepiola.nn.attention import CrossAttention, SelfAttention
from sepiola.nn.positions import RelativeBias
from sepiola.specs.model import TransformerSpec


def initialise(model: nn.Module, spec: TransformerSpec) -> None:
    """Fresh weights: every matrix N(0, 1/fan-in), residual outputs smaller by the root of their number (GPT-2).

    Unscaled attention (T5) takes the missing scale into its queries. A tied head without a scale (GPT) needs
    small embeddings; otherwise embeddings have unit variance.
    A `mimetic` model begins as trained ones come to look.
    """
    depth = 2 * (spec.layers + (spec.encoder.layers if spec.kind == "encoder-decoder" else 0))
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            continue
        std = parameter.shape[1] ** -0.5
        if name.endswith(("out.weight", "down.weight")):
            std *= depth**-0.5
        if "embedding" in name:
            std = 1.0 if spec.head_scale or not spec.tied else 0.02
        if name.endswith(("relative.embedding.weight", "positions.embedding.weight", "types.weight")):
            std = 0.02
        nn.init.normal_(parameter, std=std)
    if spec.attention.scale is not None:
        _scale_queries(model, spec)
    if spec.mimetic:
        _mimic(model)


def _scale_queries(model: nn.Module, spec: TransformerSpec) -> None:
    for module in model.modules():
        if isinstance(module, SelfAttention):
            rows = module.qkv.weight[module.qkv.rows["q"]]
        elif isinstance(module, CrossAttention):
            rows = module.q.weight
        else:
            continue
        with torch.no_grad():
            rows.mul_(module.head_width**-0.5 / module.scale)


@torch.no_grad()
def _mimic(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, RelativeBias):
            module.look_near()
        elif isinstance(module, CrossAttention) and module.kv_heads == module.heads:
            keys, queries = module.kv.weight[module.kv.rows["k"]], module.q.weight
            keys.copy_(queries * (keys.norm() / queries.norm()))
