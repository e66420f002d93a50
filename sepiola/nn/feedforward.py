"""Position-wise feed-forward networks: plain, gated (GLU variants, arXiv 2002.05202), and mixtures of experts."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepiola.nn.custom_backward import GATED, GatedFunction, custom_backward
from sepiola.nn.dropout import Dropout
from sepiola.nn.linear import BlockLinear
from sepiola.specs.bricks import FeedForwardSpec


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _quick_gelu(x: Tensor) -> Tensor:
    return x * (1.702 * x).sigmoid()


def _squared_relu(x: Tensor) -> Tensor:
    return F.relu(x).square()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": _gelu_tanh,
    "quick_gelu": _quick_gelu,
    "silu": F.silu,
    "squared_relu": _squared_relu,
}


def gated(gate_up: Tensor, activation: str) -> Tensor:
    """`activation(gate) * up` of `(…, 2 * width)`, the gate first."""
    if custom_backward(gate_up) and activation in GATED:
        return GatedFunction.apply(gate_up, activation)
    gate, up = gate_up.chunk(2, dim=-1)
    return ACTIVATIONS[activation](gate) * up


class FeedForward(nn.Module):
    """`activation(x W1) W2`: `(…, width)` to `(…, width)`."""

    def __init__(self, width: int, spec: FeedForwardSpec, dropout: float = 0.0) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[spec.activation]
        self.up = nn.Linear(width, spec.width, bias=spec.bias)
        self.down = nn.Linear(spec.width, width, bias=spec.bias)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.dropout(self.activation(self.up(x))))


class GatedFeedForward(nn.Module):
    """`(activation(x Wg) * x Wu) W2`, with Wg and Wu laid out as one matrix, the gate first."""

    def __init__(self, width: int, spec: FeedForwardSpec, dropout: float = 0.0) -> None:
        super().__init__()
        self.activation = spec.activation
        self.gate_up = BlockLinear(width, {"gate": spec.width, "up": spec.width}, bias=spec.bias)
        self.down = nn.Linear(spec.width, width, bias=spec.bias)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.dropout(gated(self.gate_up(x), self.activation)))


class MixtureOfExperts(nn.Module):
    """Gated networks of which a router chooses a few for each token (arXiv 2401.04088); none is ever full.

    The experts' matrices stand one under the other; tokens are grouped by expert, so each is one product a group. A
    shared network, which all tokens read, has a gate between 0 and 1 (Qwen2-MoE, as in `transformers`).
    """

    def __init__(self, width: int, spec: FeedForwardSpec, dropout: float = 0.0) -> None:
        super().__init__()
        assert spec.experts is not None
        self.experts, self.chosen, self.renormalise = spec.experts, spec.chosen, spec.renormalise
        self.activation = spec.activation
        self.router = nn.Linear(width, spec.experts, bias=False)
        each = range(spec.experts)
        gates = {f"{expert}.{part}": spec.width for expert in each for part in ("gate", "up")}
        self.gate_up = BlockLinear(width, gates, bias=False)
        self.down = BlockLinear(spec.width, {str(expert): width for expert in each}, bias=False)
        self.dropout = Dropout(dropout)
        shared = spec.shared and FeedForwardSpec(width=spec.shared, activation=spec.activation, gated=True)
        self.shared = GatedFeedForward(width, shared, dropout) if shared else None
        self.shared_gate = nn.Linear(width, 1, bias=False) if shared else None

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, -2)
        weights, experts = self.router(tokens).softmax(-1, dtype=torch.float32).topk(self.chosen, dim=-1)
        total = weights.sum(-1, keepdim=True) if self.renormalise else 1.0
        weights = (weights / total).to(x.dtype).flatten()
        order = experts.flatten().argsort(stable=True)
        groups = order.split(experts.flatten().bincount(minlength=self.experts).tolist())
        gate_up, down = (m.weight.chunk(self.experts) for m in (self.gate_up, self.down))
        result = torch.zeros_like(tokens)
        for group, into, out_of in zip(groups, gate_up, down, strict=True):
            rows = group // self.chosen
            written = F.linear(self.dropout(gated(F.linear(tokens[rows], into), self.activation)), out_of)
            result.index_add_(0, rows, (written * weights[group, None]).to(result.dtype))
        if self.shared is not None and self.shared_gate is not None:
            result = result + self.shared_gate(tokens).sigmoid() * self.shared(tokens)
        return result.view(x.shape)


def feed_forward(width: int, spec: FeedForwardSpec, dropout: float = 0.0) -> nn.Module:
    """The feed-forward network that the spec names."""
    if spec.experts is not None:
        return MixtureOfExperts(width, spec, dropout)
    return (GatedFeedForward if spec.gated else FeedForward)(width, spec, dropout)
