"""DETR: padding without a trace, places, and norms that stay frozen."""

from __future__ import annotations

import torch

from sepiola.models.build import build
from sepiola.models.vision.detr import DETR, sine_positions
from sepiola.models.vision.resnet import FrozenNorm
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import DETRSpec
from tests.tiny import detr as detr_spec


def tiny_detr() -> ModelSpec:
    return ModelSpec.parse({"name": "tiny", "family": "detr", "vision": detr_spec(2)})


def test_detr_pads_without_a_trace() -> None:
    """Pictures of several sizes in one batch have the features they have alone, whatever fills the rest."""
    model = build(tiny_detr()).eval()
    pictures = [torch.randn(3, 64, 90), torch.randn(3, 75, 41), torch.randn(3, 33, 96)]
    batch, mask = torch.zeros(3, 3, 75, 96), torch.zeros(3, 75, 96, dtype=torch.long)
    for row, one in enumerate(pictures):
        batch[row, :, : one.shape[1], : one.shape[2]], mask[row, : one.shape[1], : one.shape[2]] = one, 1
    filled = torch.where(mask[:, None] > 0, batch, torch.full_like(batch, 3.0))
    with torch.no_grad():
        alone = torch.cat([model(one[None]) for one in pictures])
        torch.testing.assert_close(model(batch, pixel_mask=mask), alone, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(model(filled, pixel_mask=mask), alone, atol=1e-5, rtol=1e-4)
        assert (model(filled) - alone).abs().max() > 1e-2


def test_detr_sees_where_things_are() -> None:
    model = build(tiny_detr()).eval()
    scene = torch.zeros(1, 3, 64, 64)
    scene[..., :16, :16] = 2.0
    with torch.no_grad():
        assert (model(scene) - model(scene.flip(-1))).abs().max() > 1e-3
    places = sine_positions(torch.ones(1, 3, 5, dtype=torch.bool), 16)
    assert places.shape == (1, 15, 16)
    assert len({tuple(p.tolist()) for p in places[0].round(decimals=4)}) == 15


def test_frozen_norms_do_not_learn() -> None:
    spec = tiny_detr()
    model = build(spec).train()
    assert isinstance(model, DETR) and isinstance(spec.vision, DETRSpec)
    norms = {n: m for n, m in model.named_modules() if isinstance(m, FrozenNorm)}
    assert len(norms) == 6 and not any(list(m.parameters()) for m in norms.values())
    before = {n: m.running_mean.clone() for n, m in norms.items()}
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(torch.equal(m.running_mean, before[n]) for n, m in norms.items())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
