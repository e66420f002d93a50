"""A vocabulary grows: old logits stay to the bit, and new rows are like the old."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch

from sepiola.models.build import build
from sepiola.models.vocabulary import grow
from sepiola.specs.model import ModelSpec
from tests.tiny import llama


@pytest.mark.parametrize("init", ["mean", "spread"])
@pytest.mark.parametrize(
    "change", [{}, {"tied": False}, {"head": {"bias": True}}, {"embedding_scale": 3.0}, {"head_scale": 0.5}]
)
def test_old_logits_are_unchanged(change: dict[str, Any], init: Literal["mean", "spread"]) -> None:
    spec = ModelSpec.parse({"language": llama(60, **change)})
    larger = ModelSpec.parse({"language": llama(67, **change)})
    old, new = build(spec).eval(), build(larger, seed=1).eval()
    state = old.state_dict()
    if "head.bias" in state:
        state["head.bias"].normal_()
    grown = grow(state, 67, init, torch.Generator().manual_seed(0))
    again = grow(state, 67, init, torch.Generator().manual_seed(0))
    assert all(torch.equal(grown[name], again[name]) for name in grown)
    new.load_state_dict(grown)
    tokens = torch.arange(2, 26).view(2, 12)
    with torch.no_grad():
        before, after = old(tokens), new(tokens)
    assert torch.equal(new.states(tokens), old.states(tokens))
    torch.testing.assert_close(after[..., :60], before, atol=1e-6, rtol=1e-6)
    rows = grown["embedding.weight"]
    assert torch.equal(rows[:60], state["embedding.weight"])
    if init == "mean":
        torch.testing.assert_close(rows[60:], rows[:60].mean(0).expand(7, -1))
    else:
        assert 0.5 < rows[60:].std() / rows[:60].std() < 2 and rows[60:].unique(dim=0).shape[0] == 7
    assert grow(grown, 67) == grown


def test_positions_do_not_grow() -> None:
    spec = ModelSpec.parse({"language": llama(60, positions={"kind": "learned", "length": 8})})
    state = build(spec).state_dict()
    changed = {name for name, tensor in grow(state, 61).items() if tensor.shape != state[name].shape}
    assert changed == {"embedding.weight"}
