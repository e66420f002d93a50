"""Text that sees the images once it is read: pixels, features and several images alike; no image is zero features."""

from __future__ import annotations

import pytest
import torch

from sepiola.errors import DataError
from sepiola.models.build import build
from sepiola.models.multimodal.fused import FusedModel
from sepiola.models.multimodal.interleaved import interleaved
from sepiola.specs.model import ModelSpec
from tests.tiny import encoder_decoder, randomise, vit

SOURCE, TARGET = torch.tensor([[7, 8, 9], [10, 11, 0]]), torch.tensor([[0, 5], [0, 6]])
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])


def model(**parts: object) -> FusedModel:
    torch.manual_seed(0)
    raw = {"language": encoder_decoder(), "vision": vit(), "bridge": {"kind": "gated-fusion"}, **parts}
    network = build(ModelSpec.parse({key: value for key, value in raw.items() if value is not None}))
    assert isinstance(network, FusedModel) and interleaved(network) is None
    return randomise(network).eval()


@torch.no_grad()
def test_pixels_are_their_features() -> None:
    network, pixels = model(), torch.randn(2, 3, 16, 16)
    wanted = network.states(SOURCE, TARGET, images=pixels, attention_mask=MASK)
    features = network.vision(pixels) if network.vision is not None else pixels
    torch.testing.assert_close(network.states(SOURCE, TARGET, images=features, attention_mask=MASK), wanted)
    assert (network.states(SOURCE, TARGET, images=-pixels, attention_mask=MASK) - wanted).abs().max() > 1e-3
    state = network.begin(SOURCE, 2, images=pixels, attention_mask=MASK)
    torch.testing.assert_close(network.extend(TARGET, state)[:, -1], wanted[:, -1], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_no_image_is_zero_features() -> None:
    network = model()
    zeros = torch.zeros(2, 4, network.bridge.image.in_features)
    blind = network.encode(SOURCE, attention_mask=MASK)
    torch.testing.assert_close(network.encode(SOURCE, images=zeros, attention_mask=MASK), blind)


@torch.no_grad()
def test_images_of_one_row_are_seen_and_those_masked_are_not() -> None:
    network, pixels = model(), torch.randn(2, 2, 3, 16, 16)
    mask = torch.tensor([[1, 1], [1, 0]])
    both = network.encode(SOURCE, images=pixels, attention_mask=MASK, image_mask=mask)
    first = network.encode(SOURCE, images=pixels[:, :1], attention_mask=MASK, image_mask=mask[:, :1])
    torch.testing.assert_close(both[1, :2], first[1, :2], atol=1e-5, rtol=1e-4)
    assert (both[0] - first[0]).abs().max() > 1e-3


def test_what_it_cannot_see_is_refused() -> None:
    with pytest.raises(DataError, match="image features are 3 wide"):
        model().encode(SOURCE, images=torch.zeros(2, 4, 3))
    without = model(vision=None, bridge={"kind": "gated-fusion", "image_width": 6})
    with pytest.raises(DataError, match=r"has no vision encoder; give features \(batch, patches, 6\)"):
        without.encode(SOURCE, images=torch.zeros(2, 3, 16, 16))
