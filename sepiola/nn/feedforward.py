"""Position-wise feed-forward networks, plain and gated (GLU variants, arXiv 2002.05202)."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from sepiola.specs.model import FeedForwardSpec


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _quick_gelu(x: Tensor) -> Tensor:
    return x * (1.702 * x).sigmoid()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": _gelu_tanh,
    "quick_gelu": _quick_gelu,
    "silu": F.silu,
}


class FeedForward(nn.Module):
    """`activation(x W1) W2`: `(…, width)` to `(…, width)`."""

    def __init__(self, width: int, spec: FeedForwardSpec, dropout: float = 0.0) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[spec.activation]
        self.up = nn.Linear(width, spec.width, bias=spec.bias)
        self.down = nn.Linear(spec.width, width, bias=spec.bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.dropout(self.activation(self.up(x))))


class GatedFeedForward(nn.Module):
    """`(activation(x Wg) * x Wu) W2`, with Wg and Wu laid out as one matrix, the gate first."""

    def __init__(self, width: int, spec: FeedForwardSpec, dropout: float = 0.0) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[spec.activation]
        self.gate_up = nn.Linear(width, 2 * spec.width, bias=spec.bias)
        self.down = nn.Linear(spec.width, width, bias=spec.bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(self.dropout(self.activation(gate) * up))


def feed_forward(width: int, spec: FeedForwardSpec, dropout: float = 0.0) -> nn.Module:
    """The feed-forward network that the spec names."""
    return (GatedFeedForward if spec.gated else FeedForward)(width, spec, dropout)
