"""Normalisation layers by spec: LayerNorm and RMSNorm (arXiv 1910.07467, as in T5 and LLaMA: no bias, no mean)."""

from __future__ import annotations

from torch import nn

from sepiola.specs.model import NormSpec


def norm(width: int, spec: NormSpec) -> nn.Module:
    """The norm over the last dimension that the spec names."""
    if spec.kind == "rms":
        return nn.RMSNorm(width, eps=spec.eps)
    return nn.LayerNorm(width, eps=spec.eps, bias=spec.bias)
