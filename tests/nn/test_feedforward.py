"""Feed-forward networks against their formulas: values and gradients; experts against each token by itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sepiola.nn.feedforward import ACTIVATIONS, FeedForward, GatedFeedForward, MixtureOfExperts, feed_forward
from sepiola.specs.bricks import FeedForwardSpec


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("gated", [False, True])
def test_values_and_gradients_are_the_formulas(activation: str, gated: bool) -> None:
    module = feed_forward(6, FeedForwardSpec(width=10, activation=activation, gated=gated, bias=True))
    x = torch.randn(3, 4, 6, requires_grad=True)
    curve = {
        "relu": lambda y: y.clamp(min=0),
        "gelu": lambda y: y * 0.5 * (1 + torch.erf(y / 2**0.5)),
        "gelu_tanh": lambda y: 0.5 * y * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (y + 0.044715 * y**3))),
        "quick_gelu": lambda y: y / (1 + torch.exp(-1.702 * y)),
        "silu": lambda y: y / (1 + torch.exp(-y)),
        "squared_relu": lambda y: y.clamp(min=0) ** 2,
    }[activation]
    if gated:
        assert isinstance(module, GatedFeedForward)
        (wg, wu), (bg, bu) = module.gate_up.weight.chunk(2), module.gate_up.bias.chunk(2)
        hidden = curve(x @ wg.T + bg) * (x @ wu.T + bu)
    else:
        assert isinstance(module, FeedForward)
        hidden = curve(x @ module.up.weight.T + module.up.bias)
    expected = hidden @ module.down.weight.T + module.down.bias
    torch.testing.assert_close(module(x), expected, atol=1e-5, rtol=1e-5)
    leaves = [x, *module.parameters()]
    for ours, theirs in zip(
        *(torch.autograd.grad(y.square().sum(), leaves) for y in (module(x), expected)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("chosen", [1, 2, 4])
def test_each_token_gets_its_experts_weighted_by_the_router(chosen: int) -> None:
    spec = FeedForwardSpec(width=10, activation="silu", gated=True, experts=4, chosen=chosen)
    module = feed_forward(6, spec)
    assert isinstance(module, MixtureOfExperts)
    x = torch.randn(2, 5, 6, requires_grad=True)
    gate_ups, downs = module.gate_up.weight.chunk(4), module.down.weight.chunk(4)
    rows = []
    for token in x.flatten(0, 1):
        probabilities = (module.router.weight @ token).softmax(-1)
        best = probabilities.topk(chosen)
        row = torch.zeros(6)
        for share, expert in zip(best.values / best.values.sum(), best.indices.tolist(), strict=True):
            gate, up = (gate_ups[expert] @ token).chunk(2)
            row = row + share * (downs[expert] @ (F.silu(gate) * up))
        rows.append(row)
    expected = torch.stack(rows).view_as(x)
    torch.testing.assert_close(module(x), expected, atol=1e-5, rtol=1e-5)
    leaves = [x, module.gate_up.weight, module.down.weight, *([module.router.weight] if chosen > 1 else [])]
    for ours, theirs in zip(
        *(torch.autograd.grad(y.square().sum(), leaves) for y in (module(x), expected)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_dropout_is_of_training_alone() -> None:
    module = feed_forward(6, FeedForwardSpec(width=64), dropout=0.5)
    x = torch.randn(4, 6)
    assert not torch.equal(module(x), module(x))
    assert torch.equal(module.eval()(x), module(x))
