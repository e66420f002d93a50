"""A Q-Former without a language model: what it compares, and what it is made of."""

from __future__ import annotations

import torch

from sepiola.models.build import build
from sepiola.models.multimodal.qformer_model import QFormerModel
from sepiola.specs.model import ModelSpec
from tests.tiny import qformer, vit

TEXT = {"vocabulary": 40, "length": 8, "start": 1, "end": 2, "decode": 3}


def model(**changes: object) -> QFormerModel:
    bridge = qformer(text=TEXT, heads={"space": 6}, **changes)
    network = build(ModelSpec.parse({"vision": vit(), "bridge": bridge})).eval()
    assert isinstance(network, QFormerModel)
    return network


def test_an_image_is_as_close_to_a_text_as_its_best_query() -> None:
    network = model()
    images, texts = torch.randn(2, 3, 16, 16), torch.tensor([[1, 9, 8, 2], [1, 7, 2, 0], [1, 6, 2, 0]])
    with torch.no_grad():
        scores = network(images, texts)
        queries = network.bridge.image_vectors(network.vision(images))
        vectors = network.bridge.text_vectors(texts)
        by_hand = torch.tensor([[max(float(query @ text) for query in image) for text in vectors] for image in queries])
        assert network.match(images, texts[:2]).shape == (2, 2)
    torch.testing.assert_close(scores, by_hand, atol=1e-5, rtol=1e-4)


def test_its_parts_and_instructions() -> None:
    network = model()
    assert network.parts() == {"vision": network.vision, "bridge": network.bridge}
    assert network.instructed is None and model(instructed=True).instructed == network.bridge.spec.text
