"""Attention in training keeps its probabilities; it must be torch's attention, value and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sepiola.nn.attend import attend


def nodes(tensor: torch.Tensor) -> set[str]:
    """Names of the operations that a tensor came from."""
    names, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None:
            names.add(node.name())
            waiting += [following for following, _ in node.next_functions]
    return names


@pytest.mark.parametrize("kv_heads", [6, 2, 1])
@pytest.mark.parametrize("shape", [(1, 6, 9, 11), (2, 1, 9, 11), (2, 6, 9, 11), (2, 1, 1, 11), None])
def test_equals_torch(kv_heads: int, shape: tuple[int, ...] | None) -> None:
    q, k, v = (torch.randn(2, h, t, 8, dtype=torch.float64) for h, t in ((6, 9), (kv_heads, 11), (kv_heads, 11)))
    bias = None if shape is None else torch.randn(shape, dtype=torch.float64)
    inputs = [x.requires_grad_() for x in (q, k, v, bias) if x is not None]
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=0.3, enable_gqa=kv_heads != 6)
    expected = expected.transpose(1, 2).flatten(2)
    got = attend(q, k, v, bias, 0.3, 0.0)
    assert "_KeptAttentionBackward" in nodes(got)
    torch.testing.assert_close(got, expected)
    upstream = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(got, inputs, upstream), torch.autograd.grad(expected, inputs, upstream)
    )


def test_masked_rows_and_autocast() -> None:
    """A float32 mask of the lowest number stays finite in bfloat16, and hidden keys get no gradient."""
    q, k, v = (torch.randn(1, 2, 5, 8, requires_grad=True) for _ in range(3))
    mask = torch.zeros(1, 1, 5, 5).masked_fill(torch.ones(5, 5).triu(1).bool(), torch.finfo(torch.float32).min)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = attend(q, k, v, mask, 0.5, 0.0)
    exact = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=0.5).transpose(1, 2).flatten(2)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), exact, rtol=3e-2, atol=3e-2)
    (grad,) = torch.autograd.grad(out[:, 0].sum(), k)
    assert bool(torch.isfinite(grad).all()) and not grad[:, :, 1:].any()


def test_dropout_drops_and_keeps_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its gradient is that of the weights which were not dropped."""
    q, k = (torch.randn(1, 1, 64, 4) for _ in range(2))
    v = torch.eye(64)[None, None].requires_grad_()
    q.requires_grad_()
    weights = attend(q, k, v, None, 0.5, 0.25)
    whole = attend(q, k, v, None, 0.5, 0.0)
    dropped = weights == 0
    assert 0.2 < dropped.float().mean() < 0.3
    torch.testing.assert_close(weights[~dropped], whole[~dropped] / 0.75)
    upstream = torch.randn_like(whole)
    wanted = torch.autograd.grad(whole, q, upstream * ~dropped / 0.75, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(weights, q, upstream), wanted)
    monkeypatch.setattr("sepiola.nn.attend.KEPT_KEYS", 8)
    torch.testing.assert_close(attend(q, k, v, None, 0.5, 0.0), whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_of_dropout_a_byte_an_element_is_kept(dtype: torch.dtype) -> None:
    q, k, v = (torch.randn(2, 3, 64, 4, dtype=dtype, requires_grad=True) for _ in range(3))
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        attend(q, k, v, None, 0.5, 0.25)
    large = [x.dtype for x in kept if x.numel() == 2 * 3 * 64 * 64]
    assert large == [dtype, torch.uint8]
