"""The Q-Former's first stage: each loss by hand, its negatives, and that it learns to tell pairs apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sepiola.data.batching import Batch, Collator, Sample
from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec, SpecialTokens
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.objectives.alignment import (
    SMOOTHING,
    contrast,
    draw_negatives,
    image_text_alignment,
    pairs,
    similarity,
)
from tests.tiny import qformer, vit

END, READ, WRITE = 1, 3, 4
TEXT = {"vocabulary": 30, "length": 8, "start": READ, "end": END, "decode": WRITE}
SPEC = {"vision": vit(width=12), "bridge": qformer(text=TEXT, heads={"space": 8})}


def batch(targets: list[list[int]], features: Tensor) -> Batch:
    rows = iter(features)
    samples = [Sample(str(i), (), [*t, END], (ImageRef(data=b"x"),)) for i, t in enumerate(targets)]
    return Collator(
        SpecialTokens(), kind="decoder", features=lambda asked: [next(rows) for _ in asked], patches=features.shape[1]
    )(samples)


def test_the_three_losses_are_those_of_the_paper() -> None:
    """Each from whole sentences by other means: softmaxes written out, texts built by hand, pairs one by one."""
    model: Any = build(ModelSpec.parse(SPEC)).eval()
    q, features = model.bridge, torch.randn(3, 5, 12)
    targets = [[7, 8, 9], [7, 10], [11]]
    torch.manual_seed(5)
    outcome = image_text_alignment(model, batch(targets, features))
    width = max(map(len, targets)) + 2
    read = torch.tensor([[READ, *t, END] + [0] * (width - 2 - len(t)) for t in targets])
    images, texts = q.image_vectors(features), q.text_vectors(read)
    alike = torch.stack([torch.stack([(v @ t).max() for t in texts]) for v in images]) / 0.07
    torch.testing.assert_close(q.heads.temperature.detach(), torch.tensor(0.07))

    smooth = torch.full((3, 3), SMOOTHING / 3) + torch.eye(3) * (1 - SMOOTHING)
    both = [-(smooth * F.log_softmax(scores, 1)).sum(1).mean() for scores in (alike, alike.t())]
    torch.testing.assert_close(outcome.parts["contrast_loss"] / outcome.tokens, sum(both) / 2)

    torch.manual_seed(5)
    wrong = draw_negatives(alike.detach(), torch.eye(3, dtype=torch.bool))
    chosen = [(i, i, 1) for i in range(3)] + [(int(i), int(t), 0) for i, t in zip(*wrong, strict=True)]
    assert len(chosen) == 9 and all(i != t for i, t, _ in chosen[3:])
    logits = torch.cat([q.match(features[i, None], read[t, None]) for i, t, _ in chosen])
    expected = F.cross_entropy(logits, torch.tensor([right for *_, right in chosen]))
    torch.testing.assert_close(outcome.parts["matching_loss"] / outcome.tokens, expected)

    losses = []
    for row, target in enumerate(targets):
        states, words = q.written(features[row, None], torch.tensor([[WRITE, *target]]))
        losses.append(F.cross_entropy((states @ words.t())[0], torch.tensor([*target, END]), reduction="sum"))
    torch.testing.assert_close(outcome.parts["writing_loss"], sum(losses))
    torch.testing.assert_close(outcome.loss_sum, sum(outcome.parts.values()))


def test_hard_negatives_are_what_is_most_alike_and_never_the_same() -> None:
    alike = torch.tensor([[9.0, 8.0, -9.0, 0.0], [8.0, 9.0, -9.0, 0.0], [0.0, 0.0, 9.0, 9.0], [0.0, -9.0, 9.0, 9.0]])
    same = torch.eye(4, dtype=torch.bool)
    same[2, 3] = same[3, 2] = True  # two equal texts
    hard = [draw_negatives(alike, same) for _ in range(50)]
    uniform = [draw_negatives(torch.zeros_like(alike), same) for _ in range(50)]
    for drawn in (*hard, *uniform):
        assert not same[drawn[0], drawn[1]].any() and len(drawn[0]) == 8
    partners = lambda draws, image: [int(t[list(i).index(image)]) for i, t in draws]  # noqa: E731
    assert set(partners(hard, 0)) == {1} and set(partners(uniform, 0)) == {1, 2, 3}
    images, _ = draw_negatives(alike[:1, :1], same[:1, :1])
    assert len(images) == 0, "one pair alone has no negatives"


def test_equal_texts_are_both_right() -> None:
    alike = torch.tensor([[2.0, 2.0, -1.0], [2.0, 2.0, -1.0], [-1.0, -1.0, 3.0]])
    same = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    swapped = alike[:, [1, 0, 2]]
    torch.testing.assert_close(contrast(alike, same), contrast(swapped, same))
    assert contrast(alike, same) < contrast(alike, torch.eye(3, dtype=torch.bool)) + 1e-6
    queries = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    torch.testing.assert_close(similarity(queries, torch.tensor([[0.6, 0.8]])), torch.tensor([[0.8]]))


def test_it_learns_to_tell_pairs_apart() -> None:
    """Eight kinds of image, each with its text: after some steps of the sum each of the three is well below chance."""
    model: Any = build(ModelSpec.parse(SPEC))
    kinds = torch.randn(8, 5, 12)
    targets = [[6 + kind, 20 + kind % 3] for kind in range(8)]
    optimizer = torch.optim.AdamW(model.bridge.parameters(), lr=3e-3)
    for _ in range(140):
        outcome = image_text_alignment(model, batch(targets, kinds + 0.1 * torch.randn(8, 5, 12)))
        optimizer.zero_grad()
        (outcome.loss_sum / outcome.tokens).backward()
        optimizer.step()
    model.eval()
    fresh = kinds + 0.1 * torch.randn(8, 5, 12)
    read = torch.tensor([[READ, *t, END] for t in targets])
    with torch.no_grad():
        assert (model(fresh, read).argmax(1) == torch.arange(8)).all()
        matched = model.match(fresh.repeat_interleave(8, 0), read.repeat(8, 1)).softmax(-1)[:, 1].view(8, 8)
        assert (matched.argmax(1) == torch.arange(8)).float().mean() > 0.8
        assert float(image_text_alignment(model, batch(targets, fresh)).parts["writing_loss"]) / 24 < 0.3


def test_one_image_a_text() -> None:
    tokenizer = Tokenizer.train(["a magnet 磁铁"], 300)
    image = ImageRef(data=b"x")
    right, wrong = (Example(n, (Message("user", (image,) * k),), "磁铁") for n, k in (("one", 1), ("two", 2)))
    (sample,) = pairs([right], tokenizer, END)
    assert list(sample.target) == [*tokenizer.encode("磁铁"), END] and len(sample.source) == 0
    with pytest.raises(DataError, match="two: image-text-alignment reads one image a text; it has 2"):
        pairs([right, wrong], tokenizer, END)
