"""Attention against torch's own: values and gradients, grouped heads, normalised queries, windows and a cache."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepiola.nn.attention import CrossAttention, SelfAttention
from sepiola.nn.positions import Rotary
from sepiola.specs.bricks import AttentionSpec

WIDTH = 24


def heads_of(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def causal(tokens: int) -> Tensor:
    return torch.full((1, 1, tokens, tokens), torch.finfo(torch.float32).min).triu(1)


def assert_same_gradients(ours: Tensor, theirs: Tensor, module: nn.Module, x: Tensor) -> None:
    """Values, and gradients of every parameter and of the input."""
    assert theirs.std() > 0.01
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    leaves = [x, *module.parameters()]
    grads = zip(*(torch.autograd.grad(y.square().sum(), leaves) for y in (ours, theirs)), strict=True)
    for own, plain in grads:
        torch.testing.assert_close(own, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("kv_heads", "bias", "masked"), [(None, True, False), (2, False, True), (1, True, True)])
def test_self_attention_is_torchs(kv_heads: int | None, bias: bool, masked: bool) -> None:
    module = SelfAttention(WIDTH, AttentionSpec(heads=4, kv_heads=kv_heads, bias=bias, scale=0.3))
    x = torch.randn(2, 9, WIDTH, requires_grad=True)
    q, k, v = (F.linear(x, m, None if b is None else b) for m, b in blocks(module))
    shared = kv_heads or 4
    attended = F.scaled_dot_product_attention(
        heads_of(q, 4), heads_of(k, shared), heads_of(v, shared), is_causal=masked, scale=0.3, enable_gqa=True
    )
    expected = module.out(attended.transpose(1, 2).flatten(2))
    assert_same_gradients(module(x, causal(9) if masked else None), expected, module, x)


def blocks(module: SelfAttention) -> list[tuple[Tensor, Tensor | None]]:
    """Weight and bias of queries, keys and values, one under the other in one matrix."""
    sizes = [module.heads * module.head_width, *[module.kv_heads * module.head_width] * 2]
    bias = module.qkv.bias
    biases = [None] * 3 if bias is None else bias.split(sizes)
    return list(zip(module.qkv.weight.split(sizes), biases, strict=True))


def test_queries_and_keys_are_normalised_then_turned() -> None:
    rotary = Rotary(6)
    module = SelfAttention(WIDTH, AttentionSpec(heads=4, qk_norm=True), rotary=rotary)
    nn.init.normal_(module.q_norm.weight)
    nn.init.normal_(module.k_norm.weight)
    x = torch.randn(2, 5, WIDTH, requires_grad=True)
    angles = rotary.angles(torch.arange(5)[None], torch.float32)
    q, k, v = (heads_of(F.linear(x, weight), 4) for weight, _ in blocks(module))
    q, k = (F.rms_norm(h, (6,), n.weight, n.eps) for h, n in ((q, module.q_norm), (k, module.k_norm)))
    attended = F.scaled_dot_product_attention(rotary(q, angles), rotary(k, angles), v)
    expected = module.out(attended.transpose(1, 2).flatten(2))
    assert_same_gradients(module(x, angles=angles), expected, module, x)


def test_joined_norms_are_over_all_heads() -> None:
    module = SelfAttention(WIDTH, AttentionSpec(heads=4, kv_heads=2, qk_norm="joined"))
    nn.init.normal_(module.q_norm.weight)
    nn.init.normal_(module.k_norm.weight)
    x = torch.randn(2, 5, WIDTH, requires_grad=True)
    q, k, v = (F.linear(x, weight) for weight, _ in blocks(module))
    q, k = (F.rms_norm(all_, all_.shape[-1:], n.weight, n.eps) for all_, n in ((q, module.q_norm), (k, module.k_norm)))
    q, k, v = heads_of(q, 4), heads_of(k, 2), heads_of(v, 2)
    attended = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    assert_same_gradients(module(x), module.out(attended.transpose(1, 2).flatten(2)), module, x)


@pytest.mark.parametrize("window", [None, 3])
def test_with_a_cache_it_is_the_whole(window: int | None) -> None:
    """Several tokens at first, then one at a time; with a window, the last keys alone are seen."""
    module = SelfAttention(WIDTH, AttentionSpec(heads=4, kv_heads=2, window=window)).eval()
    x = torch.randn(2, 8, WIDTH)
    mask = causal(8)
    if window is not None:
        mask = mask + torch.full((8, 8), torch.finfo(torch.float32).min).tril(-window)
        mask = mask.clamp(min=torch.finfo(torch.float32).min)
    with torch.no_grad():
        whole, cache = module(x, mask), module.cache(2, 8)
        parts = [module(x[:, :4], mask[..., :4, :4], cache=cache)]
        parts += [module(x[:, t : t + 1], cache=cache) for t in range(4, 8)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)


def test_cross_attention_is_torchs_over_a_context_projected_once() -> None:
    module = CrossAttention(WIDTH, AttentionSpec(heads=4, kv_heads=2, bias=True), context_width=10)
    x, context = torch.randn(2, 5, WIDTH, requires_grad=True), torch.randn(2, 7, 10)
    k, v = F.linear(context, module.kv.weight, module.kv.bias).chunk(2, -1)
    attended = F.scaled_dot_product_attention(heads_of(module.q(x), 4), heads_of(k, 2), heads_of(v, 2), enable_gqa=True)
    expected = module.out(attended.transpose(1, 2).flatten(2))
    assert_same_gradients(module(x, module.project(context)), expected, module, x)


def test_dropout_is_of_training_alone() -> None:
    module = SelfAttention(WIDTH, AttentionSpec(heads=4), dropout=0.5)
    x = torch.randn(1, 6, WIDTH)
    assert not torch.equal(module(x), module(x))
    assert torch.equal(module.eval()(x), module(x))
