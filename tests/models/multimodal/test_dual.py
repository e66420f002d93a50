"""Two towers: vectors of length 1 that do not depend on their neighbours, compared."""

from __future__ import annotations

import pytest
import torch

from sepiola.errors import DataError
from sepiola.models.build import build
from sepiola.models.multimodal.dual import DualEncoder
from sepiola.specs.model import ModelSpec
from tests.tiny import encoder, randomise, vit

END = 1


def model(text: str = "end", **positions: object) -> DualEncoder:
    torch.manual_seed(0)
    language = encoder(positions={"kind": "learned", "length": 6}) | {"head": {"kind": "none"}}
    bridge = {"kind": "dual", "width": 8, "image": "mean", "text": text}
    network = build(ModelSpec.parse({"language": language, "vision": vit(), "bridge": bridge}))
    assert isinstance(network, DualEncoder)
    return randomise(network).eval()


@torch.no_grad()
def test_every_image_is_compared_with_every_text() -> None:
    network, pixels = model(), torch.randn(3, 3, 16, 16)
    tokens = torch.tensor([[7, 8, END, 0], [9, END, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    logits = network(tokens, images=pixels, attention_mask=mask)
    assert logits.shape == (3, 2)
    torch.testing.assert_close(network.image(pixels).norm(dim=-1), torch.ones(3))
    alone = network.text(tokens[1:, :2])
    torch.testing.assert_close(network.text(tokens, attention_mask=mask)[1:], alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network(tokens[1:, :2], images=pixels[:1]), logits[:1, 1:], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_texts_that_are_padded_to_one_length_are_read_so() -> None:
    network = model("last")
    assert network.text_length == 6
    assert network.text(torch.tensor([[7, 8, END, 0, 0, 0]])).shape == (1, 8)
    with pytest.raises(DataError, match="texts are 3 tokens long; this model reads texts padded to 6 tokens"):
        network.text(torch.tensor([[7, 8, END]]))
    with pytest.raises(DataError, match="and have a mask"):
        network.text(torch.ones(1, 6, dtype=torch.long), attention_mask=torch.ones(1, 6))
