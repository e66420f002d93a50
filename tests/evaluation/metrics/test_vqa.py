"""VQA's soft accuracy and normalisation, DAQUAR's sets, and their figures beside text baselines."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepiola.data.example import Example, Message, Question
from sepiola.datasets import read
from sepiola.evaluation.benchmarks import daquar
from sepiola.evaluation.metrics.vqa import equal_sets, soft_accuracy, vqa_figures, vqa_normalised
from sepiola.reasoning.answer import Answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Dog", "dog"),
        ("two dogs", "2 dogs"),
        ("none", "0"),
        ("dont know", "don't know"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("yes, it is.", "yes it is"),
        ("1,000", "1000"),
        ("3.5 m.", "3.5 m"),
        ("garbage_bin", "garbage bin"),
        ("红色", "红色"),
        ("", ""),
    ],
)
def test_normalisation(text: str, expected: str) -> None:
    assert vqa_normalised(text) == expected


def test_three_people_make_an_answer_right() -> None:
    people = ["red"] * 3 + ["the red"] + ["blue"] * 2 + ["green"] + ["Pink."] * 3
    assert [soft_accuracy(a, people) for a in ("Red", "blue", "green", "pink", "grey")] == pytest.approx(
        [1, 2 / 3, 1 / 3, 1, 0]
    )
    # Nine of ten vote: of three that agree, three times two are left and seven times three.
    out = [soft_accuracy(a, people, leave_one_out=True) for a in ("red", "blue", "green", "pink", "grey")]
    assert out == pytest.approx([1, 0.6, 0.3, 0.9, 0])


def test_answers_of_several_things_are_sets() -> None:
    assert equal_sets("chair, table", "table, chair") and equal_sets("a table", "table")
    assert not equal_sets("table", "table, chair") and not equal_sets("", "table")


def asked(number: int, answer: str, **metadata: object) -> Example:
    text = "what is there ?"
    return Example(str(number), (Message("user", (text,)),), answer, Question(text, answer_text=answer), metadata)


def test_figures_by_hand() -> None:
    people = ["table"] * 10
    examples = [
        asked(0, "table", group="a", answers=people),
        asked(1, "2, lamp", group="a"),
        asked(2, "bed", group="b"),
    ]
    answers = [Answer("0", "The answer is a table."), Answer("1", "The answer is lamp, two."), Answer("2", "")]
    found = vqa_figures(examples, answers)
    assert {name: (told["value"], told["count"]) for name, told in found.items()} == {
        "exact": (pytest.approx(1 / 3), 3),
        "sets": (pytest.approx(2 / 3), 3),
        "soft": (1.0, 1),
    }
    assert found["sets"]["interval"] == [0.0, 1.0], "pictures are drawn whole"
    closed = Example("c", (Message("user", ("?",)),), "a", Question("?", ("a", "b"), 0))
    assert vqa_figures([closed], [Answer("c", "a", 0)]) == {}


def test_daquar_beside_its_text_baselines(data_root: Path) -> None:
    train = read("daquar", data_root / "daquar", "train")[::8]
    examples = read("daquar", data_root / "daquar", "test")[::40]
    report = daquar.BENCHMARK.figures(examples, [Answer(e.id, f"The answer is {e.target}.") for e in examples], train)
    assert report["vqa"]["sets"]["value"] == report["vqa"]["exact"]["value"] == 1.0
    table = next(table for table in daquar.BENCHMARK.tables(report) if table["title"] == "Open answers")
    assert [line["name"] for line in table["lines"]] == ["This model", "majority", "nearest neighbour"]
    blind = report["baselines"]["nearest_neighbour"]["vqa"]["sets"]["value"]
    assert 0.1 < blind < 0.5, "questions can partly be answered from their wording"
