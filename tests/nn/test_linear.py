"""Blocks of rows: their names, where they lie, and that a layer of them is a plain linear."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from sepiola.nn.attention import CrossAttention, SelfAttention
from sepiola.nn.feedforward import feed_forward
from sepiola.nn.linear import BlockLinear, block_linears, blocks_of
from sepiola.specs.bricks import AttentionSpec, FeedForwardSpec


def test_rows_of_blocks() -> None:
    linear = BlockLinear(6, {"q": 8, "k": 4, "v": 4}, unit=4)
    assert linear.rows == {"q": slice(0, 8), "k": slice(8, 12), "v": slice(12, 16)}
    assert linear.state_dict().keys() == nn.Linear(6, 16).state_dict().keys()
    x = torch.randn(3, 6)
    for rows in linear.rows.values():
        torch.testing.assert_close(linear(x)[:, rows], F.linear(x, linear.weight[rows], linear.bias[rows]))
    assert blocks_of("a.qkv", linear).keys() == {"a.qkv.q", "a.qkv.k", "a.qkv.v"}
    assert blocks_of("a.out", nn.Linear(6, 5)) == {"a.out": slice(0, 5)}


def test_bricks_name_their_blocks() -> None:
    """Where a plan cuts: blocks in whole heads, experts one by one."""
    attention = SelfAttention(24, AttentionSpec(heads=6, kv_heads=2))
    assert (attention.qkv.blocks, attention.qkv.unit) == ({"q": 24, "k": 8, "v": 8}, 4)
    assert CrossAttention(24, AttentionSpec(heads=6, kv_heads=2), context_width=10).kv.blocks == {"k": 8, "v": 8}
    gated = FeedForwardSpec(width=10, gated=True, activation="silu")
    assert dict(block_linears(feed_forward(24, gated)))["gate_up"].blocks == {"gate": 10, "up": 10}
    mixture = dict(block_linears(feed_forward(24, gated.model_copy(update={"experts": 2}))))
    assert mixture["gate_up"].blocks == {"0.gate": 10, "0.up": 10, "1.gate": 10, "1.up": 10}
    assert mixture["down"].blocks == {"0": 24, "1": 24}
