"""Contrastive losses: those of `transformers` on the same weights, the negatives that count, and the temperature."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

import sepiola
from sepiola.data.image import ImageRef
from sepiola.data.pairs import Pair, PairCollator
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec, SpecialTokens
from sepiola.training.objectives.contrastive import contrastive
from tests.tiny import encoder, vit

TOWER = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 40}
VISION = {**TOWER, "image_size": 16, "patch_size": 8}
TEXT = {**TOWER, "vocab_size": 50, "max_position_embeddings": 9, "bos_token_id": 3, "eos_token_id": 4}
PICTURES = {name: torch.randn(3, 16, 16) for name in (b"a", b"b", b"c", b"d")}
TEXTS = ([7, 8, 4], [9, 10, 11, 12, 4], [13, 4], [14, 15, 4])
ENCODER: dict[str, Any] = {
    "vision": vit(),
    "language": encoder(50, hidden=16, head={"kind": "none"}, tokens={"end": 4}),
    "bridge": {"kind": "dual", "width": 8},
}


def batch(pictures: bytes = b"abcd", texts: Any = TEXTS, length: int | None = None) -> Any:
    shown = zip(pictures, texts, strict=True)
    pairs = [Pair.of(f"{number}", ids, ImageRef(data=bytes([name]))) for number, (name, ids) in enumerate(shown)]
    collate = PairCollator(SpecialTokens(), length=length, pixels=lambda images: [PICTURES[i.encoded] for i in images])
    return collate([pair.cut(9, 9) for pair in pairs])


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_the_loss_of_transformers(name: str, tmp_path: Path) -> None:
    if name == "clip":
        theirs: Any = CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=16))
    else:
        theirs = SiglipModel(SiglipConfig(vision_config=VISION, text_config=TEXT))
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0.0 if parameter.dim() > 1 else 0.5, 0.4)
    theirs.save_pretrained(tmp_path)
    ours = sepiola.load(tmp_path).network
    given = batch(length=ours.text_length)
    outcome = contrastive(ours, given)
    wanted = theirs.eval()(input_ids=given.target, pixel_values=given.images, return_loss=True).loss
    torch.testing.assert_close(outcome.loss_sum / outcome.tokens, wanted, atol=1e-4, rtol=1e-4)
    assert outcome.tokens == given.labelled == 4


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_what_is_the_same_is_no_negative(loss: str) -> None:
    """With a second pair of the same picture and a third of the same text, only true strangers are told apart."""
    spec = ModelSpec.parse({**ENCODER, "bridge": {**ENCODER["bridge"], "loss": loss}})
    model: Any = build(spec).eval()
    given = batch(b"aabc", [TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[3]])
    same = [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    assert given.together.int().tolist() == same
    logits = model(given.target, images=given.images, attention_mask=given.target_mask).tolist()
    total = 0.0
    for i in range(4):
        for scores in (logits[i], [row[i] for row in logits]):
            strangers = [scores[j] for j in range(4) if not same[i][j]]
            if loss == "softmax":
                total += (math.log(sum(map(math.exp, [scores[i], *strangers]))) - scores[i]) / 2
            else:  # every cell counts once: half of it by row, half by column
                total += (math.log1p(math.exp(-scores[i])) + sum(math.log1p(math.exp(s)) for s in strangers)) / 2
    assert contrastive(model, given).loss_sum.item() == pytest.approx(total, rel=1e-4)
    alone = contrastive(model, batch(b"a", TEXTS[:1])).loss_sum
    assert alone.isfinite() and (loss == "sigmoid" or alone.item() == pytest.approx(0, abs=1e-6))


def test_the_temperature_learns_up_to_a_hundred() -> None:
    model: Any = build(ModelSpec.parse(ENCODER)).train()
    contrastive(model, batch()).loss_sum.backward()
    assert model.bridge.scale.grad.abs() > 0
    assert all(p.grad is not None for n, p in model.named_parameters() if not n.startswith("vision.norm"))
    with torch.no_grad():
        model.bridge.scale.fill_(9.0)
    given = batch()
    logits = model(given.target, images=given.images, attention_mask=given.target_mask)
    assert 1.0 < logits.abs().max() <= 100.0
    assert model.eval()(given.target, images=given.images, attention_mask=given.target_mask).abs().max() > 100.0


def test_a_text_that_is_cut_keeps_its_end() -> None:
    pair = Pair.of("long", [*range(5, 40), 4], ImageRef(data=b"a")).cut(9, 9)
    assert isinstance(pair, Pair) and len(pair.source) == 9 and pair.source[-1] == 4
