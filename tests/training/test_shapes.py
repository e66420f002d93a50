"""A step over shapes: it counts what the step over numbers holds, whatever decides the shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sepiola.data.batching import Sample
from sepiola.models.build import build, outline
from sepiola.specs.model import ModelSpec
from sepiola.training.estimate import estimate
from sepiola.training.objectives.writing import language_modelling
from sepiola.training.shapes import Memory, outlined
from tests import tiny
from tests.trainers import stage_of, text_batches

CPU = torch.device("cpu")


def shaped(network: nn.Module) -> tuple[nn.Module, Memory]:
    copied, memory = outlined(network), Memory(CPU)
    memory.take(copied)
    return copied, memory


def test_bytes_are_counted_and_given_back() -> None:
    layer, memory = shaped(nn.Linear(100, 50))
    assert memory.held == memory.peak == 4 * (100 * 50 + 50)
    weights = memory.held
    with memory:
        x = torch.zeros(30, 100)
        first = layer(x)
        assert memory.held == weights + 4 * 30 * (100 + 50)
        view = first[:, :10]
        assert memory.held == weights + 4 * 30 * (100 + 50)  # a view holds nothing of its own
        del first, x
        assert memory.held == weights + 4 * 30 * 150  # the graph needs x, the view the rest
        view.sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.device.type == "cpu"
    del view
    assert memory.held == 2 * weights
    assert memory.peak > 2 * weights


def test_tied_weights_count_once_and_the_network_stays_as_it_was() -> None:
    first, second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
    second.weight = first.weight
    network = nn.Sequential(first, second)
    _, memory = shaped(network)
    assert memory.held == 4 * 64
    assert type(first.weight) is nn.Parameter and not first.weight.is_meta


def test_integers_are_real_and_floats_are_not() -> None:
    with Memory(CPU):
        rows = torch.tensor([3, -100, 5])
        assert (rows != -100).nonzero()[:, 0].tolist() == [0, 2]
        assert torch.arange(4).to(torch.float32).add_(1).shape == (4,)
        assert float(torch.ones(3).sum()) == 1.0  # not computed


def moe(**changes: Any) -> dict[str, Any]:
    experts = {"width": 40, "activation": "silu", "gated": True, "experts": 4, "chosen": 2}
    return tiny.llama(**{"feed_forward": experts, **changes})


def test_the_losses_of_experts_run_over_shapes() -> None:
    """They leave out padding, whose places are known where values are not."""
    experts = moe()["feed_forward"]
    spec = ModelSpec.parse({"language": moe(feed_forward={**experts, "balance_loss": 0.01, "router_z_loss": 0.001})})
    stage = stage_of(batch=2, steps=1, precision="float32")
    samples = [Sample("0", [2, 3], [5, 1]), Sample("1", [2, 3, 4], [5, 6, 1])]
    found = estimate(outline(spec), stage, text_batches(build(spec), stage, samples), language_modelling, rate=1e9)
    assert found.activations > 0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("language", [tiny.llama, tiny.encoder_decoder, moe, tiny.GROUPED_QUERY])
def test_a_step_over_shapes_holds_what_the_step_holds(language: Any, precision: str) -> None:
    """Against what is saved for the backward pass of the step itself, which is most of what it holds."""
    spec = ModelSpec.parse({"language": {**(language() if callable(language) else language), "dropout": 0.1}})
    stage = stage_of(batch=16, steps=1, precision=precision)
    samples = [Sample(str(i), list(range(2, 32)), [5] * 25 + [1]) for i in range(16)]
    network = build(spec)
    batches = text_batches(network, stage, samples)
    found = estimate(outline(spec), stage, batches, language_modelling, rate=1e9)
    saved: dict[int, int] = {}
    kept: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        saved[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        kept.append(x)  # so that no address is used twice
        return x

    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x),
        torch.autocast("cpu", dtype, precision != "float32"),
    ):
        language_modelling(network, batches.largest())
    for parameter in network.parameters():
        saved.pop(parameter.untyped_storage().data_ptr(), None)
    held = sum(saved.values())
    counted = (found.activations + found.gradients) * 1e9
    assert held < counted < 1.6 * held + 4 * sum(p.numel() for p in network.parameters())
