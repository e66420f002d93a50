"""The heads of a Q-Former's first stage: logits of words as one product, and widths that the spec names."""

from __future__ import annotations

import torch

from sepiola.models.bridges.query_heads import TEMPERATURE, QueryHeads
from sepiola.specs.bridge import QFormerSpec
from tests.tiny import qformer, randomise

TEXT = {"vocabulary": 11, "start": 1, "end": 2, "decode": 3}


def heads(writes: bool) -> QueryHeads:
    return QueryHeads(QFormerSpec.parse(qformer(text=TEXT, heads={"space": 5, "writes": writes})))


def test_operands_multiply_to_the_logits_of_the_words() -> None:
    writing = randomise(heads(writes=True))
    assert writing.write is not None
    states, words = torch.randn(2, 3, 24), torch.randn(11, 24)
    with torch.no_grad():
        left, right = writing.operands(states, words)
        hidden = writing.write.norm(torch.nn.functional.gelu(writing.write.dense(states)))
        torch.testing.assert_close(left @ right.T, hidden @ words.T + writing.write.bias)


def test_images_and_texts_meet_in_their_space_and_only_some_heads_write() -> None:
    silent = heads(writes=False)
    assert silent.write is None
    assert silent.image(torch.randn(4, 24)).shape == silent.text(torch.randn(4, 24)).shape == (4, 5)
    assert silent.match(torch.randn(4, 24)).shape == (4, 2) and abs(silent.temperature.item() - TEMPERATURE) < 1e-6
