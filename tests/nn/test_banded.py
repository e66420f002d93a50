"""Bands against dense attention under a mask: values, gradients, and how much is held."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sepiola.models.build import build
from sepiola.nn.attend import KEPT_KEYS, attend, mask_bias
from sepiola.nn.banded import SLICED, Band
from sepiola.specs.base import override
from sepiola.specs.model import ModelSpec
from tests.tiny import GROUPED_QUERY

SMALL = {"language": GROUPED_QUERY}


@pytest.mark.parametrize("window", [1, 4, 7])
@pytest.mark.parametrize("tokens", [14, 29, 130])
@pytest.mark.parametrize("segmented", [False, True])
def test_a_band_is_dense_attention_under_a_mask(window: int, tokens: int, segmented: bool) -> None:
    q, k, v = (torch.randn(2, heads, tokens, 8, requires_grad=True) for heads in (6, 2, 2))
    segments = None
    if segmented:  # two packed texts and padding, on either side
        segments = torch.ones(2, tokens, dtype=torch.long)
        segments[0, 9:], segments[0, tokens - 3 :] = 2, 0
        segments[1, :5] = 0
    index = torch.arange(tokens)
    far = (index[:, None] - index >= window)[None, None]
    mask = mask_bias(
        segments, segments, causal=0, queries=tokens, keys=tokens, dtype=torch.float32, device=torch.device("cpu")
    )
    assert mask is not None
    expected = attend(q, k, v, mask.masked_fill(far, torch.finfo(torch.float32).min), 0.3, 0.0)
    given = Band(window, segments).attend(q, k, v, 0.3, 0.0)
    real = slice(None) if segments is None else segments > 0
    torch.testing.assert_close(given[real], expected[real], atol=1e-5, rtol=0)
    wanted = torch.autograd.grad(expected[real].square().sum(), (q, k, v))
    for ours, theirs in zip(torch.autograd.grad(given[real].square().sum(), (q, k, v)), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


class Made(TorchDispatchMode):
    """Counts the elements of the tensors that operators make, views left out; `largest` is the most of one."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        held = {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        for made in tree_leaves(result):
            if isinstance(made, torch.Tensor) and made.untyped_storage().data_ptr() not in held:
                self.elements += made.numel()
                self.largest = max(self.largest, made.numel())
        return result


@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize("learns", [False, True])
def test_a_band_grows_with_tokens_and_not_their_square(segmented: bool, learns: bool) -> None:
    """A forward pass holds nothing larger than its result, and all that is made grows with the tokens."""

    def made(tokens: int) -> Made:
        q, k, v = (torch.randn(1, 2, tokens, 8, requires_grad=learns) for _ in range(3))
        segments = torch.ones(1, tokens, dtype=torch.long) if segmented else None
        with Made() as counted, torch.set_grad_enabled(learns):
            out = Band(48, segments).attend(q, k, v, 0.3, 0.0)
            if learns:
                torch.autograd.grad(out.sum(), (q, k, v))
        return counted

    short, long = made(1024), made(4096)
    assert long.elements < 4.2 * short.elements
    assert learns or long.largest == 4096 * 2 * 8


def test_a_stack_of_bands_makes_no_square_mask() -> None:
    model = build(ModelSpec.parse(override(SMALL, ["language.attention.window=4"]))).eval()
    with Made() as counted, torch.no_grad():
        model.states(torch.randint(0, 40, (1, 512)))
    assert counted.largest < 512 * 512


@pytest.mark.parametrize("padding", [0, 4])
def test_banded_decoding_agrees_with_the_whole(padding: int) -> None:
    raw = override(SMALL, ["language.attention.window=4", "language.attention.full_every=2"])
    model = build(ModelSpec.parse(raw)).eval()
    tokens, mask = torch.randint(0, 40, (2, 23)), torch.ones(2, 23, dtype=torch.long)
    mask[0, :padding] = 0
    with torch.inference_mode():
        whole = model(tokens, attention_mask=mask)
        state = model.begin(tokens[:, :6], 17, attention_mask=mask[:, :6])
        parts = [model.extend(tokens[:, a:b], state) for a, b in ((5, 6), (6, 9), (9, 10), (10, 23))]
        torch.testing.assert_close(model.head(torch.cat(parts, 1)), whole[:, 5:], atol=1e-5, rtol=0)


def test_a_long_prompt_in_bfloat16_is_decoded_as_the_whole() -> None:
    model = build(ModelSpec.parse(SMALL)).eval()
    tokens = torch.randint(0, 40, (1, KEPT_KEYS + SLICED))
    with torch.inference_mode():
        exact = model(tokens)[:, -1]
        state = model.bfloat16().begin(tokens[:, :-3], 4)
        last = model.head(model.extend(tokens[:, -4:], state))[:, -1]
    assert last.dtype == torch.bfloat16 and (last - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("masked", ["not at all", "on the left", "in segments"])
@pytest.mark.parametrize("window", [None, 40])
def test_a_long_text_in_slices_is_the_same(masked: str, window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits and gradients, with several layers of which one has no window."""
    changes = [] if window is None else [f"language.attention.window={window}", "language.attention.full_every=2"]
    model = build(ModelSpec.parse(override(SMALL, changes)))
    tokens, mask = torch.randint(0, 40, (2, SLICED + 7)), None
    if masked == "on the left":
        mask = torch.ones_like(tokens)
        mask[1, :70] = 0
    elif masked == "in segments":
        mask = torch.arange(SLICED + 7).div(90, rounding_mode="floor").expand(2, -1) + 1
    found = []
    for least in (SLICED, 10**6):
        monkeypatch.setattr("sepiola.models.transformer.SLICED", least)
        logits = model(tokens, attention_mask=mask)
        logits = logits if mask is None else logits[mask > 0]
        logits.square().mean().backward()
        found.append((logits.detach(), [p.grad for p in model.parameters()]))
        model.zero_grad(set_to_none=True)
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-5, rtol=0)
    for sliced, whole in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(sliced, whole, atol=1e-6, rtol=1e-4)
