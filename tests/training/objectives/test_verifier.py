"""A verifier learns which chains end right: from chains in balance, at every token, as a stage of a recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

import sepiola
from sepiola.data.batching import IGNORED, Sample
from sepiola.data.example import Example, Message, Question
from sepiola.datasets import DATASETS, Dataset
from sepiola.errors import SpecError, TrainingError
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.reasoning.answer import Answer, Chain
from sepiola.specs.model import SpecialTokens
from sepiola.training.objectives.verifier import VerifiedCollator, Verifying, balanced, verifying_loss
from sepiola.training.rankings import Ranking, RankingCollator
from tests.coins import judged, read_coins
from tests.tiny import decoder, recipe, run_recipe

TOKENS = SpecialTokens(start=1, end=2, pad=0)


def drawn(*said: str | None) -> Answer:
    return Answer("q", "", chains=tuple(Chain(f"way {n}", None, -1.0, 2, None, one) for n, one in enumerate(said)))


def asked(right: str = "4") -> Example:
    return Example("q", (Message("user", ("2 + 2?",)),), right, Question("2 + 2?", answer_text=right))


def test_as_many_right_chains_as_wrong_ones_are_learned() -> None:
    found = balanced(asked(), drawn("4", "4", "5", "4", None, "6", "4"))
    assert [right for _, right in found] == [True, True, False, False]
    assert {chain.said for chain, right in found if not right} == {"5", "6"}, "a chain without an answer has no vote"
    assert balanced(asked(), drawn("4", "4")) == [] == balanced(asked(), drawn("5", None))
    twice = drawn("4", "5", "5")
    same = replace(twice, chains=tuple(replace(chain, text=f"I say {chain.said}") for chain in twice.chains))
    assert len(balanced(asked(), same)) == 2, "each text once"


@pytest.mark.parametrize("kind", ["decoder", "encoder-decoder"])
def test_every_token_of_a_chain_is_labelled_and_counts_alike(kind: str) -> None:
    collate = RankingCollator(VerifiedCollator(TOKENS, kind=kind))  # type: ignore[arg-type]
    rows = [Sample("a", (5, 6, 7), (8, 9, 2)), Sample("b", (5, 6, 7), (8, 2)), Sample("c", (5,), (9, 2))]
    batch = collate([Ranking("q", tuple(rows[:2]), (1.0, 0.0)), Ranking("r", tuple(rows[2:]), (1.0,))])
    labels = [[one for one in row if one != IGNORED] for row in batch.labels.tolist()]
    assert labels == [[8, 9, 2], [8, 2], [9, 2]]
    for row, labelled in zip(batch.target.tolist(), batch.labels.tolist(), strict=True):
        assert all(one in (IGNORED, read) for read, one in zip(row, labelled, strict=True)), "of the token itself"
    scored = torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(0))
    per_row = []
    for number, right in enumerate((1.0, 0.0, 1.0)):
        own = scored[number][batch.labels[number] != IGNORED]
        per_row.append(binary_cross_entropy_with_logits(own, torch.full_like(own, right)))
    found = verifying_loss(scored, batch)
    torch.testing.assert_close(found.loss_sum, (per_row[0] + per_row[1]) / 2 + per_row[2])
    assert found.tokens == 2, "questions"
    last = [float(scored[n][batch.labels[n] != IGNORED][-1]) for n in range(3)]
    told = [(score > 0) == (right > 0) for score, right in zip(last, (1, 0, 1), strict=True)]
    assert float(found.parts["accuracy"]) == pytest.approx((told[0] + told[1]) / 2 + told[2])


# ------------------------------------------------------------------------------------------------------------ runs


def coins(**objective: Any) -> dict[str, Any]:
    """A writer that is sure of nothing, and a verifier of what it writes of coins that all show heads."""
    common = {"batch": 8, "source_tokens": 32, "target_tokens": 24, "optimizer": {"learning_rate": 0.02, "warmup": 8}}
    data = {"reader": "coins", "count": 64}
    first = {"name": "answer", "objective": {"format": "Q-EA"}, "data": data, "steps": 80, **common}
    own = {"kind": "verifier", "format": "Q-EA", "writer": "answer", "chains": 6, **objective}
    second = {"name": "judge", "start": "answer", "objective": own, "steps": 80, **common}
    second["data"] = {**data, "split": "more", "options": {"sure": True}}
    return recipe(
        "coins",
        {"language": decoder(300, 32, positions={"kind": "rotary", "length": 64})},
        [first, second],
        tokenizer={"vocabulary": 300},
        strategy=judged("verifier"),
    )


def test_a_verifier_mends_what_the_writer_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "coins", Dataset(read_coins, drawn=True))
    folder = run_recipe(coins(), tmp_path)
    checkpoint = folder / "checkpoint"
    assert "verifier: verifier" in (checkpoint / "strategy.yaml").read_text()
    moved = checkpoint.rename(tmp_path / "moved")  # what is saved is whole
    (folder / "stages").rename(tmp_path / "gone")
    model = sepiola.load(moved)
    examples = read_coins(None, "test", count=16, sure=True)
    answers = model.answer(examples)
    assert all(chain.score is not None for answer in answers for chain in answer.chains)
    right = sum(e.target in a.output for e, a in zip(examples, answers, strict=True))
    plain = model.by({"kind": "self-consistency", "chains": 8, "temperature": 1.0}).answer(examples)
    voted = sum(e.target in a.output for e, a in zip(examples, plain, strict=True))
    oracle = sum(any(e.target in chain.text for chain in a.chains) for e, a in zip(examples, answers, strict=True))
    assert right >= oracle - 1 > voted + 2
    model.save(tmp_path / "again")
    assert sepiola.load(tmp_path / "again").answer(examples) == answers


def test_a_writer_that_is_always_right_teaches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "coins", Dataset(read_coins, drawn=True))
    raw = coins(temperature=0.1)
    raw["stages"][0]["data"]["options"] = {"sure": True}
    with pytest.raises(TrainingError, match="answers none both right and wrong; give questions that it has not"):
        run_recipe(raw, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": {"objective": {"format": "QCM-LE"}}}, "verifier scores whole answers; give the format of 'answer'"),
        ({"stages": {"objective": {"format": "Q-EA", "shots": 2}}}, "shots"),
        ({"stages": {"packed": True}}, "in a row of its own; unset shots, packed"),
        ({"strategy": {"verifier": "answer"}}, "stage 'answer' scores no chains; its objective must be verifier"),
    ],
)
def test_what_does_not_fit_is_one_message(change: dict[str, Any], message: str) -> None:
    raw = coins()
    stage = dict(change.get("stages", {}))
    raw["stages"][1]["objective"] |= stage.pop("objective", {})
    raw["stages"][1] |= stage
    raw["strategy"] |= change.get("strategy", {})
    with pytest.raises(SpecError, match=message):
        parse_recipe(raw, "recipe")


def test_it_adds_nothing_to_the_tokenizer_of_its_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "coins", Dataset(read_coins, drawn=True))
    writer, verifier = parse_recipe(coins()).stages
    assert [*Verifying.texts(writer, asked())], "what the writer reads makes the tokenizer"
    assert not [*Verifying.texts(verifier, asked())]
