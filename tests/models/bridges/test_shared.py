"""The space that images and texts share: logits by their formulas, and attention pooling as torch's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sepiola.models.bridges.shared import AttentionPool, SharedSpace
from sepiola.models.build import build_vision_encoder
from sepiola.specs.bridge import DualSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import ViTSpec
from tests.tiny import randomise, vit


def vision_spec() -> ViTSpec:
    spec = ModelSpec.parse({"vision": vit()}).vision
    assert isinstance(spec, ViTSpec)
    return spec


@pytest.mark.parametrize(("loss", "scale", "bias"), [("softmax", 1 / 0.07, 0.0), ("sigmoid", 10.0, -10.0)])
def test_logits_begin_at_the_scale_of_the_papers(loss: str, scale: float, bias: float) -> None:
    space = SharedSpace(
        DualSpec.parse({"kind": "dual", "width": 6, "loss": loss}), 4, build_vision_encoder(vision_spec())
    )
    images, texts = (nn.functional.normalize(torch.randn(n, 6), dim=-1) for n in (2, 3))
    torch.testing.assert_close(space(images, texts), scale * images @ texts.T + bias)


def test_the_softmax_scale_grows_to_a_hundred_in_training() -> None:
    space = SharedSpace(DualSpec(kind="dual", width=6), 4, build_vision_encoder(vision_spec()))
    nn.init.constant_(space.scale, math.log(500))
    one = torch.nn.functional.normalize(torch.randn(1, 6), dim=-1)
    assert space.train()(one, one).item() == pytest.approx(100, rel=1e-4)
    assert space.eval()(one, one).item() == pytest.approx(500, rel=1e-4)


def test_attention_pooling_is_torchs_with_a_residual_feed_forward() -> None:
    pool = randomise(AttentionPool(vision_spec()))
    theirs = nn.MultiheadAttention(16, 2, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": pool.qkv.weight,
            "in_proj_bias": pool.qkv.bias,
            "out_proj.weight": pool.out.weight,
            "out_proj.bias": pool.out.bias,
        }
    )
    features = torch.randn(3, 5, 16)
    with torch.no_grad():
        drawn = theirs(pool.query.expand(3, 1, 16), features, features)[0]
        torch.testing.assert_close(pool(features), (drawn + pool.feed_forward(pool.norm(drawn)))[:, 0])
