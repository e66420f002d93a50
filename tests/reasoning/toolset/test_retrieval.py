"""BM25 by its formula, over English and Chinese, always in the same order."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from sepiola.errors import DataError, SpecError
from sepiola.reasoning.toolset import Toolset, toolset_of
from sepiola.reasoning.toolset.calculator import Calculator
from sepiola.reasoning.toolset.retrieval import K1, LETTERS, B, Retrieval, passages_of, terms

PASSAGES = [
    "Squids have ten arms.",
    "An octopus has eight arms, and eight arms only.",
    "鱿鱼有十条腕。",
    "章鱼有八条腕。",
    "Rain.",
]


def test_the_best_passage_is_the_formulas() -> None:
    found = Retrieval(PASSAGES, top=5)
    query = "How many arms has an octopus?"
    lengths = [len(terms(p)) for p in PASSAGES]

    def score(place: int) -> float:
        total = 0.0
        for term in {*terms(query)}:
            holders = sum(term in terms(p) for p in PASSAGES)
            times = terms(PASSAGES[place]).count(term)
            rare = math.log(1 + (len(PASSAGES) - holders + 0.5) / (holders + 0.5))
            total += (
                rare * times * (K1 + 1) / (times + K1 * (1 - B + B * lengths[place] / (sum(lengths) / len(lengths))))
            )
        return total

    order = sorted((p for p in range(5) if score(p) > 0), key=lambda p: -score(p))
    assert found(query) == [PASSAGES[p] for p in order] == [PASSAGES[1], PASSAGES[0]]
    assert found("章鱼有几条腕？")[0] == PASSAGES[3] and found("鱿鱼")[0] == PASSAGES[2]
    assert found("xylophone") == [] and found("the of 的") == []
    assert Retrieval([*PASSAGES, *PASSAGES])("octopus") == [PASSAGES[1]]  # of equals the first


def test_passages_are_runs_of_sentences_and_hold_all_of_a_text() -> None:
    text = "One two. " * 60 + "很长的句子" * 100 + "。短。\n\nLast line"
    passages = passages_of(text)
    assert all(0 < len(passage) <= LETTERS for passage in passages) and passages[-1].endswith("Last line")
    assert "".join("".join(passages).split()) == "".join(text.split())


def test_a_folder_is_read_and_tools_stand_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text("2+2 is four. Rafael Nadal is 35.", encoding="utf-8")
    (tmp_path / "p.tsv").write_text("en\tzh\nfour\t四\n", encoding="utf-8")
    tools = toolset_of([f"retrieval={tmp_path / 'corpus'}", "calculator", f"translator={tmp_path / 'p.tsv'}"])
    assert tools("2+2") == ["4", "2+2 is four. Rafael Nadal is 35."]
    assert tools("four in Chinese") == ["四", "2+2 is four. Rafael Nadal is 35."]
    assert tools("How old is Rafael Nadal?") == ["2+2 is four. Rafael Nadal is 35."]
    assert tools(" ") == tools("x" * 501) == [] == Toolset([Calculator()])("hello")
    with pytest.raises(DataError, match="no text to look things up in"):
        (tmp_path / "empty").mkdir()
        Retrieval.load(tmp_path / "empty")
    faults = {"calculater": "did you mean 'calculator'", "retrieval": "give retrieval=FOLDER"}
    faults |= {"calculator=x": "reads no file"}
    for named, fault in faults.items():
        with pytest.raises(SpecError, match=fault):
            toolset_of([named])


def test_questions_of_cmrc_find_their_passage(data_root: Path) -> None:
    import json

    data = json.loads((data_root / "cmrc2018" / "cmrc2018_trial.json").read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for entry in data for paragraph in entry["paragraphs"]]
    found = Retrieval([paragraph["context"] for paragraph in paragraphs])
    asked = [(qa["question"], p["context"]) for p in paragraphs for qa in p["qas"]][::5]
    assert sum(found(question) == [context] for question, context in asked) / len(asked) > 0.85
