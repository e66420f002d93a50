"""Votes in training: MC-CoT written out, rows that do not depend on their batch, masks that differ, resuming."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sepiola.data.batching import IGNORED, Batch, Collator, Sample
from sepiola.errors import SpecError
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.models.build import build
from sepiola.models.states import vote_states
from sepiola.specs.model import ModelSpec, SpecialTokens
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.objectives.self_consistency_training import SelfConsistencyTraining
from sepiola.training.objectives.writing import language_modelling
from sepiola.training.trainer import Trainer
from tests.tiny import decoder, encoder_decoder, recipe, vit
from tests.trainers import ExampleSetting, stage_of, text_batches

OBJECTIVE: dict[str, Any] = {"kind": "self-consistency-training", "votes": 3}
FUSED = {
    "language": encoder_decoder(dropout=0.3),
    "vision": vit(),
    "bridge": {"kind": "gated-fusion"},
}
MODELS: dict[str, dict[str, Any]] = {
    "encoder-decoder": {"language": encoder_decoder(dropout=0.3)},
    "decoder": {"language": decoder(dropout=0.3)},
    "fused": FUSED,
}
SAMPLES = [
    Sample("a", [5, 6, 7, 8], [9, 10, 11, 1]),
    Sample("b", [12, 13], [14, 1]),
    Sample("c", [15, 16, 17], [18, 19, 20, 21, 1]),
]


def collate(samples: list[Sample], kind: str) -> Batch:
    layout = "decoder" if kind == "decoder" else "encoder-decoder"
    return Collator(SpecialTokens(), kind=layout, source_tokens=10, target_tokens=10)(samples)


def network(kind: str, seed: int = 1) -> Any:
    return build(ModelSpec.parse({"name": kind, **MODELS[kind]}), seed=seed)


def papers_vote(logits: Tensor, alpha: float) -> Tensor:
    """The paper's vote of logits `(votes, batch, tokens, vocabulary)`, term by term."""
    mean = logits.mean(0)
    weights = (1 / (1 + logits.std(0))).expand_as(logits)
    weighted = (weights * logits).sum(0) / weights.sum(0)
    return alpha * mean + (1 - alpha) * weighted


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", MODELS)
def test_value_and_gradient_are_those_of_the_papers_formula(kind: str, alpha: float) -> None:
    model, batch = network(kind).double(), collate(SAMPLES, kind)
    gradients = []
    for loss_of in (lambda: language_modelling(model, batch, votes=3).total, lambda: written_out(model, batch, alpha)):
        torch.manual_seed(4)
        loss = loss_of()
        model.zero_grad()
        loss.backward()
        gradients.append((loss.detach(), [p.grad for p in model.parameters() if p.grad is not None]))
    (ours, own), (theirs, expected) = gradients
    assert ours == pytest.approx(theirs.item(), rel=1e-6) and len(own) == len(expected) > 10
    for mine, other in zip(own, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7)


def written_out(model: Any, batch: Batch, alpha: float) -> Tensor:
    logits = papers_vote(model.head(vote_states(model, batch, 3)), alpha)
    return nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )


class Passes(nn.Module):
    """A model whose states are given, `(votes, rows, tokens, width)`, each row's by the first token of its source."""

    def __init__(self, passes: Tensor) -> None:
        super().__init__()
        inner = network("encoder-decoder").double()
        self.head, self.spec, self.passes = inner.head, inner.spec, passes

    def states(self, source: Tensor, target: Tensor, **masks: Tensor | None) -> Tensor:
        rows = [[5, 12, 15].index(int(first)) for first in source[:, 0]]
        return self.passes[:, rows, : target.shape[1]].flatten(0, 1)


def test_the_loss_of_a_row_does_not_depend_on_who_shares_its_batch() -> None:
    passes = torch.randn(3, 3, 6, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model = Passes(passes)
    together = language_modelling(model, collate(SAMPLES, "encoder-decoder"), votes=3)
    alone = [language_modelling(model, collate([sample], "encoder-decoder"), votes=3) for sample in SAMPLES]
    assert together.loss_sum.item() == pytest.approx(sum(one.loss_sum.item() for one in alone), rel=1e-6)
    assert together.tokens == sum(one.tokens for one in alone) == 11
    plain = [language_modelling(Passes(passes[:1]), collate([sample], "encoder-decoder")) for sample in SAMPLES]
    assert not np.isclose(together.loss_sum.item(), sum(one.loss_sum.item() for one in plain)), "three votes, not one"


@pytest.mark.parametrize("kind", MODELS)
def test_passes_differ_in_training_and_are_all_the_same_without_dropout(kind: str) -> None:
    model, batch = network(kind), collate(SAMPLES, kind)
    passes = vote_states(model, batch, 4)
    assert passes.shape == (4, *batch.target.shape, 16)
    assert all(not torch.allclose(passes[i], passes[j]) for i in range(4) for j in range(i)), "a mask of its own each"
    model.eval()
    passes = vote_states(model, batch, 4)
    plain = language_modelling(model, batch).loss_sum
    torch.testing.assert_close(passes[3], passes[0])
    torch.testing.assert_close(language_modelling(model, batch, votes=4).loss_sum, plain)


@pytest.mark.parametrize("kind", ["encoder-decoder", "fused"])
def test_an_encoder_reads_the_source_once(kind: str) -> None:
    model = network(kind)
    language = model if kind == "encoder-decoder" else model.language
    read: list[tuple[int, ...]] = []
    for stack in (language.encoder, language.decoder):
        stack.register_forward_hook(lambda _, __, states: read.append(tuple(states.shape)))
    vote_states(model, collate(SAMPLES, kind), 5)
    assert [shape[0] for shape in read] == [3, 15]


def test_the_experts_that_each_pass_chose_are_balanced() -> None:
    gated = {"width": 20, "activation": "silu", "gated": True, "experts": 4, "chosen": 1, "balance_loss": 0.5}
    for made, kind in ((encoder_decoder, "encoder-decoder"), (decoder, "decoder")):
        language = made(dropout=0.3, feed_forward=gated)
        model = build(ModelSpec.parse({"name": kind, "language": language}), seed=1)
        loss = language_modelling(model, collate(SAMPLES, kind), votes=2)
        assert loss.extra is not None and loss.extra / loss.tokens > 0.4, (
            "0.5 × at least 1 for each stack, near balance"
        )


# ------------------------------------------------------------------------------------------------------------ stages


def trainer(folder: Path, steps: int = 8, **changes: Any) -> Trainer:
    model = network("encoder-decoder")
    stage = stage_of(objective=OBJECTIVE, steps=steps, batch=2, learning_rate=0.01, **changes)
    spec = ModelSpec.parse({"name": "m", **MODELS["encoder-decoder"]})
    objective = SelfConsistencyTraining(stage, ExampleSetting(spec, Tokenizer.train([], 259), []))
    batches = text_batches(model, stage, SAMPLES)
    return Trainer(model, stage, objective.loss, batches, validation=text_batches(model, stage, SAMPLES), folder=folder)


def stopped(at: int, loss: Callable[..., Any]) -> Callable[..., Any]:
    calls = [0]

    def until(model: nn.Module, batch: Batch) -> Any:
        calls[0] += model.training
        if calls[0] > at:
            raise KeyboardInterrupt
        return loss(model, batch)

    return until


def test_a_stopped_stage_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", save_every=3)
    result = whole.run()
    cut = trainer(tmp_path / "cut", save_every=3)
    cut.loss = stopped(5, cut.loss)
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    again = trainer(tmp_path / "cut", save_every=3)
    assert again.run(resume=True).steps == 8
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    torch.testing.assert_close(result.validation_loss, whole.validation_loss())


def test_it_learns(tmp_path: Path) -> None:
    run = trainer(tmp_path, steps=30, validate_every=30)
    before = run.validation_loss()
    result = run.run()
    assert result.validation_loss is not None and result.validation_loss < 0.7 * before


def recipe_with(language: dict[str, Any], **changes: Any) -> dict[str, Any]:
    stage = {
        "name": "answer",
        "data": {"reader": "tidepool", "count": 4},
        "objective": OBJECTIVE,
        "steps": 1,
        **changes,
    }
    return recipe("votes", {"language": language}, [stage], tokenizer={"vocabulary": 300})


def test_passes_that_would_all_be_equal_are_refused() -> None:
    with pytest.raises(SpecError, match=r"without dropout they are all equal: set model.language.dropout"):
        parse_recipe(recipe_with(encoder_decoder(300)))
    parse_recipe(recipe_with(encoder_decoder(300, dropout=0.1)))
    parse_recipe(recipe_with(decoder(300), lora={"rank": 2, "dropout": 0.1}))
    with pytest.raises(SpecError, match="votes: input should be greater than or equal to 2"):
        parse_recipe(recipe_with(decoder(300, dropout=0.1), objective={**OBJECTIVE, "votes": 1}))


def test_layers_in_an_encoder_decoders_decoder_are_refused() -> None:
    raw = recipe_with(encoder_decoder(300, dropout=0.1))
    raw["model"] |= {"vision": vit(), "bridge": {"kind": "gated-cross"}}
    with pytest.raises(SpecError, match="this bridge's layers stand in an encoder-decoder's decoder"):
        parse_recipe(raw)
