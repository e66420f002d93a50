"""Images as soft tokens: they stand where the placeholders are, and nowhere else."""

from __future__ import annotations

import pytest
import torch

from sepiola.errors import DataError
from sepiola.models.build import build
from sepiola.models.multimodal.interleaved import interleaved
from sepiola.models.multimodal.prefix import PrefixModel
from sepiola.specs.model import ModelSpec
from tests.tiny import decoder, encoder_decoder, randomise, vit

TOKEN = 5


def model(language: dict[str, object] | None = None) -> PrefixModel:
    torch.manual_seed(0)
    raw = {"language": language or decoder(), "vision": vit(), "bridge": {"kind": "projection", "token": TOKEN}}
    network = build(ModelSpec.parse(raw))
    assert isinstance(network, PrefixModel) and interleaved(network) is network
    return randomise(network).eval()


@torch.no_grad()
def test_image_tokens_take_the_placeholders_places() -> None:
    network, pixels = model(), torch.randn(2, 3, 16, 16)
    count = network.bridge.tokens
    tokens = torch.tensor([[7, *[TOKEN] * count, 8, *[TOKEN] * count, 9]])
    vectors = network.embed(tokens, pixels)
    words = network.language.embedding(tokens)
    place = tokens == TOKEN
    assert torch.equal(vectors[~place], words[~place])
    torch.testing.assert_close(vectors[place], network.bridge(network.features(pixels)).flatten(0, 1))
    swapped = network.embed(tokens, pixels.flip(0))
    assert torch.equal(swapped[place][:count], vectors[place][count:])


@torch.no_grad()
def test_pixels_features_and_cached_steps_agree() -> None:
    network, pixels = model(), torch.randn(1, 3, 16, 16)
    tokens = torch.tensor([[7, *[TOKEN] * network.bridge.tokens, 8, 9]])
    whole = network.states(tokens, images=pixels)
    torch.testing.assert_close(network.states(tokens, images=network.features(pixels)), whole)
    state = network.begin(tokens[:, :-1], 2, images=pixels)
    torch.testing.assert_close(network.extend(tokens[:, -2:], state)[:, -1], whole[:, -1], atol=1e-5, rtol=1e-4)
    assert (network.states(tokens, images=pixels.flip(-1)) - whole).abs().max() > 1e-3


@torch.no_grad()
def test_an_encoder_decoder_has_them_in_its_source() -> None:
    network, pixels = model(encoder_decoder()), torch.randn(1, 3, 16, 16)
    source, target = torch.tensor([[*[TOKEN] * network.bridge.tokens, 8]]), torch.tensor([[0, 9]])
    seen = network.states(source, target, images=pixels)
    assert seen.shape[:2] == (1, 2)
    assert (network.states(source, target, images=-pixels) - seen).abs().max() > 1e-3


@pytest.mark.parametrize("images", [0, 2])
def test_placeholders_and_images_that_do_not_match_are_refused(images: int) -> None:
    network = model()
    tokens = torch.tensor([[*[TOKEN] * network.bridge.tokens, 8]])
    with pytest.raises(DataError, match=f"{images} images make"):
        network.embed(tokens, torch.randn(images, 3, 16, 16) if images else None)
