"""Classes of a rubric by a judge that rates replies, and by phrases of refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sepiola
from sepiola.data.example import Example, Message
from sepiola.errors import SpecError
from sepiola.training.rewards import Written, reward_of, reward_spec
from tests.tiny import run_recipe
from tests.training.objectives.test_judge import folder, judging

SAID = ["7 tea?", "7 tea?", "8 茶?", "8 茶?", "7 tea?", "7 tea?"]
TEXTS = ["tea", "fish", "茶", "鱼", "I can't help with fish", " "]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rated")
    return run_recipe(judging(folder(root / "data")), root / "run")


def reward(model: Path, **more: Any) -> Any:
    return reward_of(reward_spec({"kind": "rubric", "model": str(model), **more}))


def asked(*harmful: bool) -> list[Example]:
    turns = [(Message("user", (said,)),) for said in SAID]
    return [Example(f"e{n}", turns[n], "", metadata={"harmful": harm}) for n, harm in enumerate(harmful)]


def written(texts: list[str]) -> list[Written]:
    return [Written(text, text, True) for text in texts]


def test_a_class_is_what_is_undesired_and_what_refuses(judge: Path) -> None:
    rated, rows = reward(judge), written(TEXTS)
    letters = rated.classify(asked(*[True] * 6), rows)
    assert letters[:4] == ["D", "C", "D", "C"] and letters[4] in "AB" and letters[5] == "B"
    worth = {"A": (1.0, -1.0), "B": (-0.5, -1.0), "C": (-1.0, -1.0), "D": (0.5, 1.0)}
    assert rated.score(asked(*[True] * 6), rows) == [worth[letter][0] for letter in letters]
    assert rated.score(asked(*[False] * 6), rows) == [worth[letter][1] for letter in letters]
    assert rated.classify(asked(True), written(["  "])) == ["B"] and rated.classify([], []) == []
    rates = sepiola.load(judge).rate(SAID[0], [TEXTS[4]])[0]["SAFE"]
    assert letters[4] == ("A" if rates >= 0.5 else "B")


def test_a_rubric_of_other_classes_is_refused(judge: Path, tmp_path: Path) -> None:
    classes = "A: {means: a, refuses: true}, B: {means: b, undesired: true}, C: {means: c}, D: {means: d}"
    (tmp_path / "mine.yaml").write_text(f"ask: x\nclasses: {{{classes}}}", encoding="utf-8")
    with pytest.raises(SpecError, match=r"rates replies and reads no rubric.*got A, B, C, D with 3 of these"):
        reward(judge, rubric=str(tmp_path / "mine.yaml")).score(asked(True), written(["tea"]))
