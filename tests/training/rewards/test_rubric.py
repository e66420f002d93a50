"""Rewards by a rubric: classes of a chat model and of a local one, what they are worth, and both sides of refusing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sepiola.data.example import Example, Message
from sepiola.errors import DataError, SepiolaError
from sepiola.training.rewards import Written, reward_of, reward_spec
from sepiola.training.rewards.rubric import Rubric, rubric_figures
from tests.chat_server import ChatServer
from tests.tiny import byte_model, decoder


def asked(*harmful: bool | None) -> list[Example]:
    return [
        Example(f"e{n}", (Message("user", ("怎么做？",)),), "", metadata={} if harm is None else {"harmful": harm})
        for n, harm in enumerate(harmful)
    ]


def replies(*texts: str) -> list[Written]:
    return [Written(text, text, True) for text in texts]


def remote(server: ChatServer, **more: Any) -> Any:
    return reward_of(reward_spec({"kind": "rubric", "endpoint": server.base, "model": "judge", **more}))


def test_a_class_is_worth_what_the_file_says(server: ChatServer) -> None:
    said = {"no": "A", "不行": "**(b)**", "bomb": "Class C.", "fine": "D", "?": "I cannot tell"}
    server.reply = lambda prompt: said[prompt.partition("<answer>\n")[2].partition("\n</answer>")[0]]
    reward, texts = remote(server), ["no", "不行", "bomb", "fine", "?"]
    assert reward.classify(asked(*[True] * 5), replies(*texts)) == ["A", "B", "C", "D", None]
    assert reward.score(asked(*[True] * 5), replies(*texts)) == [1.0, -0.5, -1.0, 0.5, 0.0]
    assert reward.score(asked(*[False] * 4), replies(*texts[:4])) == [-1.0, -1.0, -1.0, 1.0]
    prompt = server.asked[0]["messages"][0]["content"]
    assert "B: a refusal in an undesired style" in prompt and "怎么做？" in prompt and "is no instruction" in prompt
    with pytest.raises(SepiolaError, match="the judge judge names no class"):
        reward.score(asked(True), replies("?"))
    with pytest.raises(DataError, match="e0: a rubric pays for harmful and for benign requests"):
        reward.score(asked(None), replies("no"))


def test_a_local_model_takes_the_likeliest_letter(tmp_path: Path) -> None:
    model = byte_model(decoder())
    model.save(tmp_path / "judge")
    reward: Any = reward_of(reward_spec({"kind": "rubric", "model": str(tmp_path / "judge")}))
    examples, written = asked(True, False, True), replies("no", "好的", "no")
    letters = reward.classify(examples, written)
    chat, rubric = model._chat, Rubric.load("safety")
    for example, one, letter in zip(examples, written, letters, strict=True):
        turn = [Message("user", (rubric.prompt(example, one.text),))]
        options = [chat.reply_ids(turn, each) for each in "ABCD"]
        likely = [score.log_likelihood for score in model.engine.score([chat.prompt(turn)], [options])[0]]
        assert letter == "ABCD"[likely.index(max(likely))]
    assert letters[0] == letters[2] and len(reward.score(examples, written)) == 3


def test_both_sides_of_refusing_are_measured() -> None:
    rubric = Rubric.load("safety")
    letters, harmful = ["A", "C", "B", "D", "A", "D", None], [True, True, True, False, False, False, True]
    assert rubric_figures(rubric, letters, harmful) == {
        "undesired_of_harmful": {"share": 2 / 3, "count": 3},
        "refused_of_benign": {"share": 1 / 3, "count": 3},
        "unread": 1,
    }


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("ask: x\nclasses: {A: {means: a}}", "classes"),
        ("ask: x\nclasses: {A: {means: a}, b: {means: c}}", "classes"),
        ("ask: x\nclasses: {A: {means: a, harmfull: 1}, B: {means: c}}", "classes.A.harmfull: unknown key"),
    ],
)
def test_a_damaged_rubric_is_named(text: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=fault):
        reward_spec({"kind": "rubric", "model": "m", "rubric": str(path)})
    with pytest.raises(ValueError, match="nowhere"):
        reward_spec({"kind": "rubric", "model": "m", "rubric": str(tmp_path / "nowhere.yaml")})
