"""Rounding by what matrices multiply: less error than without, in the very numbers that the core packs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sepiola
from sepiola.errors import SepiolaError
from sepiola.models.transformer import EncoderDecoder, LanguageModel
from sepiola.nn.rounding import group_scales, nearest
from sepiola.runtime.calibration import round_matrices, rounded, text_linears, watching
from tests.tiny import decoder, encoder_decoder, llama


def inputs(width: int, rows: int = 2000) -> Tensor:
    """What is correlated, as states are, with some columns that stand out."""
    draw = torch.Generator().manual_seed(0)
    mix = torch.linalg.qr(torch.randn(width, width, generator=draw)).Q
    x = torch.randn(rows, width, generator=draw) * torch.logspace(0, -1.5, width)
    return x @ mix * torch.where(torch.rand(width, generator=draw) < 0.05, 4.0, 1.0)


def plain(weight: Tensor) -> Tensor:
    """The nearest numbers of 4 bits, by the scale with the least error of the weights themselves."""
    return nearest(weight, group_scales(weight).repeat_interleave(32, 1)[:, : weight.shape[1]])


@pytest.mark.parametrize("width", [96, 200])
def test_the_output_is_nearer_than_by_the_nearest_numbers(width: int) -> None:
    weight, x = torch.randn(48, width, generator=torch.Generator().manual_seed(1)), inputs(width)
    exact = x @ weight.T
    error, without = (float((x @ kept.T - exact).norm()) for kept in (rounded(weight, x.T @ x), plain(weight)))
    assert error < 0.75 * without
    assert torch.equal(rounded(weight, x.T @ x), rounded(weight, x.T @ x))


def test_columns_that_nothing_multiplies_keep_their_numbers() -> None:
    weight, x = torch.randn(8, 64, generator=torch.Generator().manual_seed(1)), inputs(64)
    x[:, 40] = 0
    kept = rounded(weight, x.T @ x)
    assert kept.isfinite().all() and float((kept - weight)[:, 40].abs().max()) < 1


@pytest.mark.parametrize("width", [64, 130])
def test_the_core_packs_rounded_matrices_as_they_are(width: int) -> None:
    core = pytest.importorskip("sepiola_edge._native", reason="the native core is not built: pip install ./edge")
    weight = torch.randn(40, width, generator=torch.Generator().manual_seed(2))
    weight[3], weight[4, :32], weight[5] = 0, 1e-9, weight[5] * 1e-3

    def packed(values: Tensor) -> Tensor:
        return torch.from_numpy(core.unpack(core.pack(values.numpy(), "int4"), "int4", *values.shape))

    x = inputs(width)
    kept = rounded(weight, x.T @ x)
    assert torch.equal(packed(kept), kept)
    few = torch.randint(-3, 4, (40, width), generator=torch.Generator().manual_seed(3)) * 0.125  # far from all 16
    assert torch.equal(packed(few), few)
    assert torch.allclose(packed(weight), plain(weight), atol=1e-6) and group_scales(weight)[3].eq(0).all()


def states_of(network: LanguageModel | EncoderDecoder, tokens: Tensor) -> Tensor:
    return network(tokens) if isinstance(network, LanguageModel) else network(tokens, tokens.flip(1))


TIED: list[Any] = [llama(), llama(tied=False), decoder(head={"bias": True}), encoder_decoder(tied=False)]


@pytest.mark.parametrize("raw", TIED)
@torch.no_grad()
def test_a_networks_matrices_are_rounded_and_its_embedding_is_not(raw: Any) -> None:
    network = sepiola.build({"language": raw}).network
    assert isinstance(network, LanguageModel | EncoderDecoder)
    draw = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5, generator=draw)
    tokens = torch.randint(5, 50, (64, 20), generator=draw)
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    expected = states_of(network, tokens)
    with watching([network]) as moments:
        states_of(network, tokens)
    round_matrices([network], moments)
    changed = {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    owned = {id(linear.weight) for linear in text_linears(network)}
    assert changed == {name for name, value in network.named_parameters() if id(value) in owned}
    assert "embedding.weight" not in changed and any(name.endswith("qkv.weight") for name in changed)
    assert ("head.projection.weight" in changed) == (not raw.get("tied", True))
    apart = float((states_of(network, tokens) - expected).norm() / expected.norm())
    for name, value in network.named_parameters():
        if name in changed:
            value.copy_(plain(before[name]))
    without = float((states_of(network, tokens) - expected).norm() / expected.norm())
    assert 0 < apart < without


def test_layers_that_the_data_do_not_reach_are_named() -> None:
    network = sepiola.build({"language": llama()}).network
    with watching([network]) as moments:
        pass
    with pytest.raises(SepiolaError, match="do not reach"):
        round_matrices([network], moments)
