"""The element-wise parts of a layer with their gradients by hand: RMSNorm, rotary heads, gated activations.

On a CPU each operation is a pass over memory. torch takes RMSNorm and its gradient apart into some twenty of them, and
autograd joins the halves of a gated or rotated tensor by copies; written out, a third of the passes are left, and only
the inputs are kept for the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_aten = torch.ops.aten


class RMSNormFunction(torch.autograd.Function):
    """`x / rms(x) * weight` over the last dimension, as `torch.nn.functional.rms_norm`; statistics in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        scale = mean.add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (wide * scale).mul_(weight).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight, scale = ctx.saved_tensors
        grad = grad.to(scale.dtype)
        normal = x * scale
        product = grad * normal
        along = (product @ weight.to(scale.dtype)).div_(x.shape[-1])[..., None]
        grad_x = (grad * weight).addcmul_(normal, along, value=-1).mul_(scale)
        return grad_x.to(x.dtype), product.flatten(0, -2).sum(0).to(weight.dtype), None


class RotaryFunction(torch.autograd.Function):
    """Rotates the first half of each head against the second; the gradient is rotated back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotated(grad, cos, sin, -1), None, None


def _rotated(x: Tensor, cos: Tensor, sin: Tensor, sign: int) -> Tensor:
    out = torch.empty_like(x)
    (first, second), (first_out, second_out) = x.chunk(2, dim=-1), out.chunk(2, dim=-1)
    torch.mul(first, cos, out=first_out).addcmul_(second, sin, value=-sign)
    torch.mul(second, cos, out=second_out).addcmul_(first, sin, value=sign)
    return out


class GatedFunction(torch.autograd.Function):
    """`activation(gate) * up` of a tensor whose last dimension holds the gate and then `up`."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor, activation: str) -> Tensor:
        ctx.save_for_backward(gate_up)
        ctx.activation = activation
        gate, up = gate_up.chunk(2, dim=-1)
        return _FORWARD[activation](gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        result = torch.empty_like(gate_up)
        grad_gate, grad_up = result.chunk(2, dim=-1)
        torch.mul(_FORWARD[ctx.activation](gate), grad, out=grad_up)
        _BACKWARD[ctx.activation](grad * up, gate, grad_gate)
        return result, None


_FORWARD: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}
_BACKWARD: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "silu": lambda grad, x, out: _aten.silu_backward(grad, x, grad_input=out),
    "gelu": lambda grad, x, out: _aten.gelu_backward(grad, x, grad_input=out),
    "gelu_tanh": lambda grad, x, out: _aten.gelu_backward(grad, x, approximate="tanh", grad_input=out),
}
GATED = frozenset(_FORWARD)


def custom_backward(x: Tensor) -> bool:
    """Whether the functions of this file are the faster way: training on a CPU."""
    return torch.is_grad_enabled() and x.device.type == "cpu"
