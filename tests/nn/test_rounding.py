"""Numbers of 4 bits, as llama.cpp's own library reads them back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepiola.nn.rounding import group_scales, nearest, q4_0


def weights(rows: int = 24, columns: int = 96) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)) ** 3


def test_the_scale_is_better_than_that_of_the_largest_weight() -> None:
    weight = weights()
    groups = weight.unflatten(1, (-1, 32))
    largest = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
    plain = nearest(groups, (largest / -8).half().float())
    ours = nearest(groups, group_scales(weight)[..., None])
    errors = [(kept - groups).square().sum(-1) for kept in (ours, plain)]
    assert (errors[0] <= errors[1]).all() and errors[0].sum() < errors[1].sum()
    counts = torch.linspace(0.1, 3, 96)
    weighed = nearest(groups, group_scales(weight, counts)[..., None])
    by = [((kept - groups).square() * counts.unflatten(0, (-1, 32))).sum() for kept in (weighed, ours)]
    assert by[0] < by[1]


def test_what_was_rounded_before_stays_as_it_is() -> None:
    groups = weights().unflatten(1, (-1, 32))
    kept = nearest(groups, torch.full((1, 1, 1), 0.375)).flatten(1)
    kept[0], kept[1, :32] = 0, kept[1, :32].clamp(-0.375, 0.75)
    again = nearest(kept.unflatten(1, (-1, 32)), group_scales(kept)[..., None]).flatten(1)
    assert torch.equal(again, kept)


def test_q4_0_is_read_back_by_ggufs_own_library() -> None:
    gguf = pytest.importorskip("gguf")
    weight = weights()
    weight[5, 32:64] = 0
    read = torch.from_numpy(gguf.quants.dequantize(q4_0(weight).numpy(), gguf.GGMLQuantizationType.Q4_0))
    expected = nearest(weight.unflatten(1, (-1, 32)), group_scales(weight)[..., None]).flatten(1)
    assert torch.equal(read, expected)
