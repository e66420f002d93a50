"""A peer learns as the writer of another seed would, and verifies the writer's chains, as a stage of a recipe."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

import sepiola
from sepiola.data.example import Example, Message, Question
from sepiola.datasets import DATASETS, Dataset
from sepiola.errors import SpecError
from sepiola.experiments.recipe_files import parse_recipe
from tests.coins import judged
from tests.tiny import decoder, recipe, run_recipe, stage_weights


def read_coins(root: Path | None, split: str, *, count: int = 64, loose: bool = False) -> list[Example]:
    """Coins whose side the question tells; where they are `loose`, the answer is any side."""
    made = []
    for n in range(count):
        rng = random.Random(f"{split} {n}")
        seen = rng.choice(["heads", "tails"])
        side = rng.choice(["heads", "tails"]) if loose else seen
        question = Question(f"I see {seen}. Which side?", answer_text=side, hint="", lecture="", solution="It fell.")
        about = {"split": split, "language": "en", "group": f"{split}{n}"}
        made.append(Example(f"{split}-{n}", (Message("user", (question.text,)),), side, question, about))
    return made


@pytest.fixture(autouse=True)
def _coins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "coins", Dataset(read_coins, drawn=True))


def coins(steps: int = 60, *, loose: bool = True, **objective: Any) -> dict[str, Any]:
    """A writer, of `loose` coins one that does not look at the question, and a peer that learns to look."""
    common = {"batch": 8, "source_tokens": 40, "target_tokens": 40, "optimizer": {"learning_rate": 0.02, "warmup": 8}}
    data = {"reader": "coins", "count": 64}
    first = {"name": "answer", "objective": {"format": "Q-EA"}, "steps": steps, **common}
    second = {"name": "judge", "objective": {"kind": "peer", "format": "Q-EA", **objective}, "steps": 2 * steps}
    return recipe(
        "coins",
        {"language": decoder(300, 32, positions={"kind": "rotary", "length": 80})},
        [{**first, "data": {**data, "options": {"loose": loose}}}, {**second, **common, "data": data}],
        tokenizer={"vocabulary": 300},
        strategy=judged("peer"),
    )


def test_a_peer_mends_what_the_writer_does_not_read(tmp_path: Path) -> None:
    folder = run_recipe(coins(), tmp_path)
    checkpoint = folder / "checkpoint"
    assert "verifier: verifier" in (checkpoint / "strategy.yaml").read_text()
    moved = checkpoint.rename(tmp_path / "moved")  # what is saved is whole
    (folder / "stages").rename(tmp_path / "gone")
    model = sepiola.load(moved)
    examples = read_coins(None, "test", count=16)
    answers = model.answer(examples)
    assert all(chain.score is not None and chain.score < 0 for answer in answers for chain in answer.chains)
    right = sum(e.target in a.output for e, a in zip(examples, answers, strict=True))
    plain = model.by({"kind": "self-consistency", "chains": 8, "temperature": 1.0}).answer(examples)
    voted = sum(e.target in a.output for e, a in zip(examples, plain, strict=True))
    oracle = sum(any(e.target in chain.text for chain in a.chains) for e, a in zip(examples, answers, strict=True))
    assert right >= oracle - 1 > voted + 2


def test_it_is_what_the_writer_of_its_seed_would_be(tmp_path: Path) -> None:
    raw = coins(2, loose=False, seed=7)
    raw["stages"][1]["steps"] = 2
    both = run_recipe(raw, tmp_path / "both")
    alone = {**raw, "stages": raw["stages"][:1], "strategy": {"kind": "one-stage", "answer": "answer"}}
    other = run_recipe(alone, tmp_path / "other", "seed=7")
    peer, writer, same = (stage_weights(f, s) for f, s in ((both, "judge"), (both, "answer"), (other, "answer")))
    assert all(torch.equal(value, same[name]) for name, value in peer.items())
    assert any(not torch.equal(value, writer[name]) for name, value in peer.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": {"format": "QCM-LE"}}, "peer reads whole answers; give the format that they are written in"),
        ({"objective": {"format": "QCMG-A"}}, "peer reads whole answers"),
        ({"stage": {"start": "answer"}}, "a peer begins with weights of its own; unset start, lora"),
        ({"strategy": {"vote": "verifier"}}, "stage 'judge' scores no chains; its objective must be verifier"),
        ({"strategy": {"verifier": "answer"}}, "stage 'answer' scores no chains; its objective must be peer"),
        ({"strategy": {"vote": "plain"}}, "vote: verifier or peer, and 'verifier', whose folder"),
    ],
)
def test_what_does_not_fit_is_one_message(change: dict[str, Any], message: str) -> None:
    raw = coins(**change.get("objective", {}))
    raw["stages"][1] |= change.get("stage", {})
    raw["strategy"] |= change.get("strategy", {})
    with pytest.raises(SpecError, match=message):
        parse_recipe(raw, "recipe")
