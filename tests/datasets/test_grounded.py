"""Turns that ask a toolset: what each one is, whose they are, and that the tools give what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sepiola.data.example import Message
from sepiola.datasets import read
from sepiola.datasets.grounded import NOTHING
from sepiola.reasoning.grounding import NOTHING_FOUND, ground
from sepiola.reasoning.toolset import Toolset
from sepiola.reasoning.toolset.calculator import Calculator
from sepiola.reasoning.toolset.retrieval import Retrieval
from tests.tiny import read_fault

WORKED = "Half is 48/2 = <<48/2=24>>24.\nAll are <<48+24=72>>72.\n#### 72"


def folder(root: Path) -> Path:
    for name in ("gsm8k", "cmrc2018"):
        (root / name).mkdir(exist_ok=True)
    many = "".join(f"<<{n}+1={n + 1}>>" for n in range(5)) + "#### 5"
    rows = [{"question": "How many?", "answer": WORKED}, {"question": "Too many?", "answer": many}]
    (root / "gsm8k" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    answers = [{"text": "十条", "answer_start": 0}]
    asked: dict[str, Any] = {"id": "Q", "question": "鱿鱼有几条腕？", "answers": answers}
    data = {"data": [{"paragraphs": [{"context": "鱼" * 400 + "鱿鱼有十条腕。" + "鱼" * 400, "qas": [asked]}]}]}
    (root / "cmrc2018" / "cmrc2018_trial.json").write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    return root


def test_each_call_and_the_answer_are_a_turn(tmp_path: Path) -> None:
    turns = read("grounded", folder(tmp_path), "test", parts=["gsm8k"])
    assert [turn.target for turn in turns] == ["TS, 48/2", "TS, 48+24", "User, 72"]
    assert [m.text for m in turns[2].messages] == ["How many?", "TS, 48/2", "TS: 24", "TS, 48+24", "TS: 72"]
    assert turns[2].metadata["answer"] == "72" and len({turn.metadata["group"] for turn in turns}) == 1
    call, told = read("grounded", tmp_path, "val", parts=["cmrc2018"])
    assert call.target == "TS, 鱿鱼有几条腕？" and told.target == "User, 十条"
    passage = told.messages[-1].text
    assert "鱿鱼有十条腕" in passage and len(passage) == len("TS: ") + 300


def test_sums_are_solved_by_the_loop_that_they_teach(tmp_path: Path) -> None:
    sums = {s: read("grounded", folder(tmp_path), s, parts=["sums"], sums=100) for s in ("train", "val", "test")}
    groups = [{turn.metadata["group"] for turn in turns} for turns in sums.values()]
    assert [len(group) for group in groups] == [100] * 3 and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert {turn.metadata["language"] for turn in sums["test"]} == {"en", "zh"}
    known = {tuple(m.text for m in turn.messages): turn.target for turn in sums["test"]}
    for turn in sums["test"]:
        if turn.metadata["step"] == 0:
            write = lambda said: known[tuple(m.text for m in said)]  # noqa: E731
            reply = ground(write, turn.messages, Toolset([Calculator()]))
            assert reply.ended == "user" and turn.metadata["answer"] in reply.text and len(reply.steps) == 1


def test_facts_are_of_people_of_one_split_and_found_by_the_tool(tmp_path: Path) -> None:
    """Nothing is read from disk, and what the toolset is asked finds the very fact among all."""
    facts = {s: read("grounded", None, s, parts=["facts"], people=60) for s in ("train", "test")}
    names = [{turn.metadata["group"].split("-")[1] for turn in turns} for turns in facts.values()]
    assert [len(some) for some in names] == [60, 60] and not names[0] & names[1]
    told = [turn for turn in facts["test"] if turn.metadata["step"] == 1]
    assert len(told) == 180 and {turn.metadata["language"] for turn in told} == {"en", "zh"}
    find = Retrieval([turn.messages[2].text.removeprefix("TS: ") for turn in told])
    found = 0
    for turn in told:
        asked, given = turn.messages[1].text.removeprefix("TS, "), turn.messages[2].text.removeprefix("TS: ")
        name, what, value = given.split(" / ")
        assert name in asked and what in asked and name in turn.messages[0].text
        assert value == turn.metadata["answer"] and value in turn.target
        found += find(asked) == [given]
    assert found > 170


def test_where_nothing_is_found_the_model_answers_by_itself(tmp_path: Path) -> None:
    told, half = (
        read("grounded", None, "train", parts=["sums", "facts"], sums=300, people=100, nothing_found=share)
        for share in (0.0, 0.5)
    )
    assert [turn.target for turn in half] == [turn.target for turn in told]
    blank = [turn for turn in half if turn.metadata["step"] == 1 and turn.messages[2].text == NOTHING == NOTHING_FOUND]
    assert 230 < len(blank) < 370 and {turn.metadata["part"] for turn in blank} == {"sums", "facts"}
    groups = {turn.metadata["group"] for turn in blank}
    beside = [turn for turn in told if turn.metadata["part"] == "sums" and "\nTS: " in turn.messages[-1].text]
    assert 60 < len(beside) < 120  # retrieval gives an age beside the result, which comes first
    assert all(turn.messages[2].text.startswith(f"TS: {turn.metadata['answer']}\n") for turn in beside)
    assert all(a == b for a, b in zip(told, half, strict=True) if a.metadata["group"] not in groups)
    assert "name the folder" in read_fault("grounded", None, "train", parts=["cmrc2018"])


def test_the_real_calls_are_what_the_calculator_gives(data_root: Path) -> None:
    turns = [turn for split in ("train", "val", "test") for turn in read("grounded", data_root, split, parts=["gsm8k"])]
    calculate, right, calls = Calculator(), 0, 0
    for turn in turns:
        if turn.target.startswith("User, "):
            for asked, found in zip(turn.messages[1::2], turn.messages[2::2], strict=True):
                result = calculate(asked.text.removeprefix("TS, "))
                said = re.sub(r"[^\d.\-]", "", found.text.removeprefix("TS: "))
                calls += 1
                right += bool(result) and abs(float(result[0]) - float(said or "nan")) < 0.01
    assert calls > 15_000 and right / calls > 0.98
    passages = read("grounded", data_root, "test", parts=["cmrc2018"])
    assert len(passages) > 500 and all(isinstance(m, Message) for turn in passages for m in turn.messages)
    learned = read("grounded", data_root, "train", parts=["cmrc2018"])
    groups = {t.messages[-1].text for t in learned if t.metadata["step"]}
    assert not groups & {t.messages[-1].text for t in passages if t.metadata["step"]}
