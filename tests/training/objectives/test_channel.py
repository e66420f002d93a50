"""A channel model learns to write questions after their answers, as a stage of a recipe, and verifies chains by it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import sepiola
from sepiola.data.example import Example, Message, Question
from sepiola.datasets import DATASETS, Dataset
from sepiola.errors import SpecError
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.reasoning.channel import backwards
from tests.tiny import decoder, recipe, run_recipe


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


def coins(**objective: Any) -> dict[str, Any]:
    """A writer that does not look at the question, and a channel model of coins that are what the question says."""
    common = {"batch": 8, "source_tokens": 40, "target_tokens": 40, "optimizer": {"learning_rate": 0.02, "warmup": 8}}
    data = {"reader": "coins", "count": 64}
    first = {"name": "answer", "objective": {"format": "Q-EA"}, "steps": 60, **common}
    first["data"] = {**data, "options": {"loose": True}}
    second = {"name": "judge", "objective": {"kind": "channel", "format": "Q-EA", **objective}, "steps": 120, **common}
    return recipe(
        "coins",
        {"language": decoder(300, 32, positions={"kind": "rotary", "length": 80})},
        [first, {**second, "data": data}],
        tokenizer={"vocabulary": 300},
        strategy={
            "kind": "self-consistency",
            "chains": 8,
            "vote": "channel",
            "verifier": "judge",
            "answer": "answer",
            "temperature": 1.0,
        },
    )


def test_prompt_and_reply_change_places() -> None:
    example = Example("q", (Message("user", ("2 + 2?",)),), "4")
    assert (backwards(example, "It is 4.").prompt, backwards(example, "It is 4.").target) == ("It is 4.", "2 + 2?")


def test_a_channel_model_mends_what_the_writer_does_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "coins", Dataset(read_coins, drawn=True))
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": {"format": "QCM-LE"}}, "channel reads whole answers; give the format that they are written in"),
        ({"objective": {"format": "QCMG-A"}}, "channel reads whole answers"),
        ({"objective": {"layout": "chat"}}, "channel reads whole answers and nothing else; unset layout, shots"),
        ({"strategy": {"vote": "verifier"}}, "stage 'judge' scores no chains; its objective must be verifier"),
        ({"strategy": {"verifier": "answer"}}, "stage 'answer' scores no chains; its objective must be channel"),
        ({"strategy": {"vote": "plain"}}, "vote: verifier or channel, and 'verifier', whose folder"),
    ],
)
def test_what_does_not_fit_is_one_message(change: dict[str, Any], message: str) -> None:
    raw = coins(**change.get("objective", {}))
    raw["strategy"] |= change.get("strategy", {})
    with pytest.raises(SpecError, match=message):
        parse_recipe(raw, "recipe")
