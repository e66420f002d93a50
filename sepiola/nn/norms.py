"""Normalisation layers by spec: LayerNorm and RMSNorm (arXiv 1910.07467, as in T5 and LLaMA: no bias, no mean)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sepiola.nn.custom_backward import RMSNormFunction, custom_backward
from sepiola.specs.bricks import NormSpec


class RMSNorm(nn.RMSNorm):
    """torch's RMSNorm, with its gradient by hand where that is faster."""

    def forward(self, x: Tensor) -> Tensor:
        if custom_backward(x):
            return RMSNormFunction.apply(x, self.weight, self.eps)
        if x.dtype != self.weight.dtype:  # under autocast
            return F.rms_norm(x.float(), list(self.normalized_shape), self.weight.float(), self.eps).type_as(x)
        return super().forward(x)


class JoinedRMSNorm(RMSNorm):
    """RMSNorm of all heads `(batch, heads, tokens, head_width)` of a token as one vector."""

    def forward(self, x: Tensor) -> Tensor:
        joined = super().forward(x.transpose(1, 2).flatten(2))
        return joined.unflatten(2, (x.shape[1], x.shape[3])).transpose(1, 2)


class ZeroCentredRMSNorm(nn.RMSNorm):
    """RMSNorm whose weight is its difference from one, computed in float32 whatever the input's dtype (Gemma)."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        weight = 1.0 + self.weight.float()
        return F.rms_norm(x.float(), list(self.normalized_shape), weight, self.eps).type_as(x)


def norm(width: int, spec: NormSpec) -> nn.Module:
    """The norm over the last dimension that the spec names."""
    if spec.kind == "rms":
        return (ZeroCentredRMSNorm if spec.zero_centred else RMSNorm)(width, eps=spec.eps)
    return nn.LayerNorm(width, eps=spec.eps, bias=spec.bias)
