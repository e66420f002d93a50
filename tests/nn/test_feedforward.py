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


def test_shares_stand_as_they_are_beside_a_shared_network_behind_its_gate() -> None:
    spec = FeedForwardSpec(width=10, activation="silu", gated=True, experts=4, chosen=2, renormalise=False, shared=7)
    module = feed_forward(6, spec)
    assert isinstance(module, MixtureOfExperts) and module.shared is not None and module.shared_gate is not None
    x = torch.randn(5, 6)
    gate_ups, downs = module.gate_up.weight.chunk(4), module.down.weight.chunk(4)

    def network(token: torch.Tensor, gate_up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
        gate, up = (gate_up @ token).chunk(2)
        return down @ (F.silu(gate) * up)

    for token, given in zip(x, module(x), strict=True):
        shares, chosen = (module.router.weight @ token).softmax(-1).topk(2)
        row = sum(
            share * network(token, gate_ups[e], downs[e]) for share, e in zip(shares, chosen.tolist(), strict=True)
        )
        open_ = (module.shared_gate.weight @ token).sigmoid()
        row = row + open_ * network(token, module.shared.gate_up.weight, module.shared.down.weight)
        torch.testing.assert_close(given, row, atol=1e-5, rtol=1e-5)


def test_dense_layers_stand_among_those_with_experts() -> None:
    spec = FeedForwardSpec(width=10, activation="silu", gated=True, experts=4, shared=7, dense=(1, 3), dense_width=24)
    layers = [feed_forward(6, spec.of_layer(layer)) for layer in range(4)]
    assert [type(layer) for layer in layers] == [MixtureOfExperts, GatedFeedForward] * 2
    assert layers[1].down.in_features == 24


def test_dropout_is_of_training_alone() -> None:
    module = feed_forward(6, FeedForwardSpec(width=64), dropout=0.5)
    x = torch.randn(4, 6)
    assert not torch.equal(module(x), module(x))
    assert torch.equal(module.eval()(x), module(x))
