"""Gradients by hand against torch's own: the functions, and the modules that take them when they train."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from sepiola.nn.custom_backward import GATED, GatedFunction, RMSNormFunction, RotaryFunction
from sepiola.nn.feedforward import ACTIVATIONS, gated
from sepiola.nn.norms import norm
from sepiola.nn.positions import Rotary
from sepiola.specs.bricks import NormSpec


def double(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def test_gradients_are_those_of_finite_differences() -> None:
    assert gradcheck(lambda x, w: RMSNormFunction.apply(x, w, 1e-6), (double(3, 5, 8), double(8)))
    cos, sin = torch.randn(2, 1, 1, 5, 4, dtype=torch.float64)
    assert gradcheck(lambda x: RotaryFunction.apply(x, cos, sin), (double(2, 3, 5, 8),))


@pytest.mark.parametrize("activation", sorted(GATED))
def test_gated_gradients_are_those_of_finite_differences(activation: str) -> None:
    assert gradcheck(lambda x: GatedFunction.apply(x, activation), (double(3, 8),))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("zero_centred", [False, True])
def test_norm_is_the_same_whether_it_learns_or_not(dtype: torch.dtype, zero_centred: bool) -> None:
    module = norm(24, NormSpec(kind="rms", zero_centred=zero_centred)).to(dtype)
    torch.nn.init.normal_(module.weight)
    x = torch.randn(2, 7, 24).to(dtype)
    with torch.no_grad():
        plain = module(x)
    learning = module(x.requires_grad_())
    assert learning.dtype == dtype
    torch.testing.assert_close(learning, plain)


def test_norm_of_a_narrower_input_keeps_its_dtype() -> None:
    module, x = norm(24, NormSpec(kind="rms")), torch.randn(2, 7, 24).bfloat16()
    torch.nn.init.normal_(module.weight)
    with torch.no_grad():
        plain = module(x)
    assert plain.dtype == torch.bfloat16
    torch.testing.assert_close(module(x.requires_grad_()), plain)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_gated_is_the_same_whether_it_learns_or_not(activation: str) -> None:
    x = torch.randn(2, 7, 24)
    gate, up = x.chunk(2, dim=-1)
    expected = ACTIVATIONS[activation](gate) * up
    torch.testing.assert_close(gated(x.clone().requires_grad_(), activation), expected)
    with torch.no_grad():
        torch.testing.assert_close(gated(x, activation), expected)


def test_rotation_is_the_same_whether_it_learns_or_not() -> None:
    x, rotary = torch.randn(2, 3, 6, 8), Rotary(8)
    angles = rotary.angles(torch.arange(6)[None], torch.float32)
    with torch.no_grad():
        plain = rotary(x, angles)
    torch.testing.assert_close(rotary(x.requires_grad_(), angles), plain)


def test_norm_gradient_in_bfloat16_is_near_that_in_float32() -> None:
    x, weight, grad = torch.randn(64, 96), torch.randn(96), torch.randn(64, 96)
    exact = x.clone().requires_grad_()
    F.rms_norm(exact, [96], weight, 1e-6).backward(grad)
    rounded = x.bfloat16().requires_grad_()
    RMSNormFunction.apply(rounded, weight.bfloat16(), 1e-6).backward(grad.bfloat16())
    assert exact.grad is not None and rounded.grad is not None
    assert (rounded.grad.float() - exact.grad).norm() < 0.02 * exact.grad.norm()
