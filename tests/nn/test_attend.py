"""The products of attention against torch's own, forward and backward; and the masks that go into them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sepiola.nn.attend import attend, has_gaps, mask_bias, window_bias

SCALE = 0.37


def states(heads: int, tokens: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(2, heads, tokens, 8, dtype=dtype)


def of_torch(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    grouped = q.shape[1] != k.shape[1]
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=SCALE, enable_gqa=grouped)
    return out.transpose(1, 2).flatten(2)


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize(("kv_heads", "queries"), [(4, 5), (2, 5), (1, 1)])
def test_it_is_torchs_attention(kv_heads: int, queries: int, learns: bool) -> None:
    torch.manual_seed(0)
    given = [states(4, queries), states(kv_heads, 7), states(kv_heads, 7), torch.randn(1, 4, queries, 7)]
    ours, theirs = ([x.clone().requires_grad_(learns) for x in given] for _ in range(2))
    out, wanted = attend(*ours, SCALE, 0.0), of_torch(*theirs)
    assert out.shape == (2, queries, 32)
    torch.testing.assert_close(out, wanted, atol=1e-5, rtol=1e-5)
    if learns:
        weight = torch.randn_like(out)
        (out * weight).sum().backward()
        (wanted * weight).sum().backward()
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("queries", [1, 6])
def test_bfloat16_is_near_to_full_precision(queries: int) -> None:
    torch.manual_seed(1)
    q, k, v = states(4, queries), states(2, 9), states(2, 9)
    out = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), None, SCALE, 0.0)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), of_torch(q, k, v, None), atol=0.03, rtol=0.03)


def test_dropout_drops_and_keeps_the_mean() -> None:
    torch.manual_seed(2)
    q, k = torch.zeros(64, 1, 4, 8, requires_grad=True), torch.zeros(64, 1, 16, 8)
    out = attend(q, k, torch.ones(64, 1, 16, 8), None, SCALE, 0.5)
    assert out.std() > 0.1
    assert out.mean().item() == pytest.approx(1.0, abs=0.05)


def seen(**keywords: object) -> Tensor:
    """Which keys each query sees, `(batch, queries, keys)`."""
    usual = {"causal": None, "queries": 4, "keys": 4, "dtype": torch.float32, "device": torch.device("cpu")}
    bias = mask_bias(**{"query_segments": None, "key_segments": None, **usual, **keywords})  # type: ignore[arg-type]
    assert bias is not None and bias.shape[1] == 1
    return bias[:, 0] == 0


def test_a_causal_mask_sees_what_was_before() -> None:
    assert torch.equal(seen(causal=0)[0], torch.ones(4, 4).tril().bool())
    later = seen(causal=2, queries=2)[0]
    assert later.tolist() == [[True, True, True, False], [True, True, True, True]]


def test_segments_see_themselves_alone_and_no_row_is_empty() -> None:
    segments = torch.tensor([[1, 1, 2, 0]])
    mask = seen(query_segments=segments, key_segments=segments)[0].tolist()
    assert mask[:3] == [[True, True, False, False]] * 2 + [[False, False, True, False]]
    assert mask[3] == [True] * 4, "padding sees everything, so that its softmax is a number"


def test_nothing_hidden_needs_no_mask() -> None:
    usual = {"queries": 1, "keys": 4, "dtype": torch.float32, "device": torch.device("cpu")}
    assert mask_bias(None, None, causal=None, **usual) is None  # type: ignore[arg-type]
    assert mask_bias(None, None, causal=3, **usual) is None  # type: ignore[arg-type]


def test_a_window_takes_keys_away_and_changes_no_other_bias() -> None:
    bias = torch.tensor([[3.0, -1.0, 2.0, 5.0]]).expand(1, 1, 4, 4)
    least = torch.finfo(torch.float32).min
    narrow = window_bias(bias, None, 2, queries=4, keys=4, like=bias)
    assert narrow is not None
    assert narrow[0, 0, 3].tolist() == [least, least, 2, 5] and narrow[0, 0, 0].tolist() == [3, -1, 2, 5]
    one = window_bias(bias[..., 3:, :], None, 2, queries=1, keys=4, like=bias)
    assert one is not None and one.tolist() == [[[[2, 5]]]]
    assert window_bias(None, None, 2, queries=1, keys=4, like=bias) is None
    segments = torch.tensor([[1, 0, 1, 0, 1]])
    assert has_gaps(segments) and not has_gaps(torch.tensor([[0, 1, 2, 2, 0], [0, 0, 0, 0, 0]]))
    counted = window_bias(None, segments, 2, queries=1, keys=5, like=bias)
    assert counted is not None and (counted[0, 0, 0] == 0).tolist() == [False, False, True, True, True]
