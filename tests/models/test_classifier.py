"""A classifier: what it reads, padded, packed and batched."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sepiola.models.build import build
from sepiola.models.classifier import Classifier
from sepiola.specs.classifier import ClassifierTokens
from sepiola.specs.model import ModelSpec, SpecialTokens
from sepiola.text.classification import ClassificationBatch, ClassificationCollator, ClassificationSample
from sepiola.training.objectives.classification import classification
from tests import tiny

TOKENS = {"start": 30, "delimiter": 31, "extract": 32}
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt-1": {"norm": {"place": "post"}, "positions": {"kind": "learned", "length": 24}},
    "gpt2": {"norm": {"place": "pre"}, "positions": {"kind": "learned", "length": 24}},
    "llama": {"norm": {"kind": "rms"}, "positions": {"kind": "rotary"}, "tied": False},
    "bert": {"kind": "encoder", "positions": {"kind": "learned", "length": 24}, "head": {"bias": True}},
}


def model(family: str = "gpt-1", kind: str = "classification", labels: tuple[str, ...] = ("a", "b", "c")) -> Classifier:
    language = tiny.decoder(33, layers=2, **FAMILIES[family])
    head = {"kind": kind, "labels": () if kind == "multiple-choice" else labels, "tokens": TOKENS}
    network = build(ModelSpec.parse({"language": language, "classifier": head}), seed=3)
    assert isinstance(network, Classifier)
    torch.nn.init.normal_(network.classifier.weight)
    return network.eval()


SINGLE = [ClassificationSample.of(str(n), [(tuple(range(3, 4 + n)),)], n % 3) for n in range(6)]
PAIRS = [ClassificationSample.of(str(n), [((3, 4 + n), (9,) * n), ((9,) * n, (3, 4 + n))], n % 3) for n in range(6)]
OPTIONS = [ClassificationSample.of(str(n), [((5,) * n, (6 + k,)) for k in range(2 + n % 3)], n % 2) for n in range(6)]
ENTAILED = [ClassificationSample.of(s.id, s.sequences[:1], s.target[0]) for s in PAIRS]
KINDS = {"classification": SINGLE, "entailment": ENTAILED, "similarity": PAIRS, "multiple-choice": OPTIONS}


def collate(network: Classifier, samples: list[ClassificationSample], *, packed: bool = False) -> ClassificationBatch:
    causal = network.spec.kind == "decoder"
    lay_out = ClassificationCollator(
        SpecialTokens(),
        ClassifierTokens.parse(TOKENS),
        causal=causal,
        packed=packed,
        source_tokens=24 if packed else 512,
    )
    return lay_out(samples)


def logits(network: Classifier, batch: ClassificationBatch) -> Tensor:
    with torch.no_grad():
        return network.read(network.language.states(batch.target, attention_mask=batch.target_mask), batch.ends)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_batched_and_packed_are_as_one_alone(family: str, kind: str) -> None:
    network, samples = model(family, kind), KINDS[kind]
    whole = logits(network, collate(network, samples))
    alone = [logits(network, collate(network, [sample]))[0] for sample in samples]
    packed = collate(network, samples, packed=True)
    assert packed.target.shape[0] < sum(len(s.sequences) for s in samples)
    assert packed.ids == tuple(s.id for s in samples) and packed.labelled == len(samples)
    for row, again, single in zip(whole, logits(network, packed), alone, strict=True):
        torch.testing.assert_close(row[: len(single)], single)
        torch.testing.assert_close(again[: len(single)], single)
        assert bool((row[len(single) :] == -torch.inf).all())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["classification", "multiple-choice"])
def test_the_loss_is_the_answers_and_lambda_times_the_tokens(kind: str, packed: bool) -> None:
    """L3 = L2 + λ L1, by hand: the mean over each example's tokens but the first, special tokens included."""
    network, samples = model(kind=kind), KINDS[kind]
    batch = collate(network, samples, packed=packed)
    by_hand = torch.zeros(())
    for sample in samples:
        own = collate(network, [sample])
        by_hand += torch.nn.functional.cross_entropy(logits(network, own), own.answers)
        with torch.no_grad():
            told = network.language(own.target).log_softmax(-1)
        known = own.labels != -100
        chosen = told.gather(-1, own.labels.clamp(min=0)[..., None])[..., 0]
        by_hand -= 0.5 * chosen[known].mean()
    with torch.no_grad():
        outcome = classification(network, batch, lm_weight=0.5)
    torch.testing.assert_close(outcome.loss_sum, by_hand)
    assert outcome.tokens == len(samples)


def test_similarity_does_not_know_which_text_is_first() -> None:
    network = model(kind="similarity")
    swapped = [ClassificationSample.of(s.id, s.sequences[::-1], s.target[0]) for s in PAIRS]
    given = logits(network, collate(network, PAIRS))
    assert torch.equal(logits(network, collate(network, swapped)), given)
    entailment = model(kind="entailment")
    backwards = [ClassificationSample.of(s.id, s.sequences[1:], s.target[0]) for s in PAIRS]
    ahead = logits(entailment, collate(entailment, ENTAILED))
    assert not torch.allclose(logits(entailment, collate(entailment, backwards)), ahead)


def test_called_it_reads_each_rows_last_token() -> None:
    network = model(kind="multiple-choice")
    batch = collate(network, OPTIONS)
    width, most = batch.target.shape[1], batch.ends.shape[1]
    tokens, mask = torch.zeros(2, len(OPTIONS), most, width, dtype=torch.long)
    rows = iter(batch.target)
    for example, sample in enumerate(OPTIONS):
        for place, texts in enumerate(sample.sequences):
            length = sum(map(len, texts)) + 3
            side = slice(width - length, width) if example % 2 else slice(0, length)  # padded left, padded right
            tokens[example, place, side] = next(rows)[:length]
            mask[example, place, side] = 1
    with torch.no_grad():
        torch.testing.assert_close(network(tokens, attention_mask=mask), logits(network, batch))
