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
from sepiola.text.classification import ClassificationBatch, ClassificationCollator, ClassificationSample, Hiding
from sepiola.training.objectives.classification import classification
from tests import tiny

TOKENS = {"start": 30, "delimiter": 31, "extract": 32}
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt-1": {"norm": {"place": "post"}, "positions": {"kind": "learned", "length": 24}},
    "gpt2": {"norm": {"place": "pre"}, "positions": {"kind": "learned", "length": 24}},
    "llama": {"norm": {"kind": "rms"}, "positions": {"kind": "rotary"}, "tied": False},
    "bert": {"kind": "encoder", "positions": {"kind": "learned", "length": 24}, "head": {"bias": True}},
}


def model(
    family: str = "gpt-1",
    kind: str = "classification",
    labels: tuple[str, ...] = ("a", "b", "c"),
    pooling: str = "last",
) -> Classifier:
    language = tiny.decoder(33, layers=2, **FAMILIES[family])
    head = {"kind": kind, "labels": () if kind == "multiple-choice" else labels, "tokens": TOKENS, "pooling": pooling}
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
        states = network.language.states(batch.target, attention_mask=batch.target_mask)
        return network.read(states, batch.ends, batch.lengths)


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_batched_and_packed_are_as_one_alone(family: str, kind: str, pooling: str) -> None:
    network, samples = model(family, kind, pooling=pooling), KINDS[kind]
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


def test_the_mean_is_that_of_a_sequences_own_states() -> None:
    network, samples = model("bert", pooling="mean"), SINGLE
    batch = collate(network, samples, packed=True)
    for sample, row in zip(samples, logits(network, batch), strict=True):
        tokens = torch.tensor([[30, *sample.sequences[0][0], 32]])
        with torch.no_grad():
            mean = network.language.states(tokens)[0].mean(dim=0)
            torch.testing.assert_close(row, network.classifier(mean))


def test_smoothed_answers_are_torchs_where_all_questions_have_the_same_labels() -> None:
    network = model("bert", pooling="mean")
    batch = collate(network, [*SINGLE, ClassificationSample.of("unknown", [((5, 6),)])])
    with torch.no_grad():
        loss = classification(network, batch, lm_weight=0.0, smoothing=0.2).loss_sum
    given = logits(network, batch)
    wanted = torch.nn.functional.cross_entropy(given, batch.answers, label_smoothing=0.2, reduction="sum")
    torch.testing.assert_close(loss, wanted)


def test_smoothed_answers_spread_over_the_options_that_a_question_has() -> None:
    network = model(kind="multiple-choice")
    together = classification(network, collate(network, OPTIONS), lm_weight=0.0, smoothing=0.2).loss_sum
    alone = [classification(network, collate(network, [s]), lm_weight=0.0, smoothing=0.2).loss_sum for s in OPTIONS]
    torch.testing.assert_close(together, torch.stack(alone).sum())
    together.backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_hidden_tokens_are_those_of_texts_alone_and_drawn_anew() -> None:
    network = model("bert")
    lay_out = ClassificationCollator(
        SpecialTokens(), ClassifierTokens.parse(TOKENS), causal=False, noise=Hiding(mask=29, share=0.5)
    )
    samples = [ClassificationSample.of("a", [((5,) * 200, (6,) * 200)], 1)]
    torch.manual_seed(0)
    first, second = lay_out(samples), lay_out(samples)
    assert first.target.shape == second.target.shape == (1, 403) and first.answers.tolist() == [1]
    assert [first.target[0, place].item() for place in (0, 201, 402)] == [30, 31, 32]
    hidden = (first.target == 29).float().mean().item()
    assert 0.4 < hidden < 0.6 and set(first.target[0].tolist()) == {5, 6, 29, 30, 31, 32}
    assert not torch.equal(first.target, second.target)
    assert torch.equal(collate(network, samples).target[0, 1:201], torch.full((200,), 5))


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_called_it_reads_rows_that_are_padded_on_either_side(pooling: str) -> None:
    network = model(kind="multiple-choice", pooling=pooling)
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
