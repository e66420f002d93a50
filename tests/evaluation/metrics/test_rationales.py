"""Rationale metrics against figures worked out by hand and against nltk, in both languages; false claims."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("sacrebleu")
pytest.importorskip("rouge_score")
pytest.importorskip("sklearn")

from sepiola.data.example import Example, Message, Question
from sepiola.evaluation.metrics.rationales import bleu, rationale_metrics, reference_rationale, words
from sepiola.reasoning.answer import Answer

FIGURES = ("bleu1", "bleu4", "rougeL", "tfidf_cosine")


def example(id: str, solution: str | None, lecture: str | None = "") -> Example:
    question = Question("q", ("a", "b"), 0, lecture=lecture, solution=solution)
    return Example(id, (Message("user", ("q",)),), "a", question)


def scores(reference: str, given: str) -> dict[str, float]:
    return rationale_metrics([example("1", reference)], [Answer("1", "", 0, rationale=given)])


@pytest.mark.parametrize("text", ["The north pole attracts the south pole.", "两块磁铁之间的距离更小，所以磁力更强。"])
def test_identical_rationales_score_100(text: str) -> None:
    assert [scores(text, text)[f] for f in FIGURES] == pytest.approx([100] * 4)


@pytest.mark.parametrize(("reference", "given"), [("one two three four", "five six"), ("磁力更强", "温度很低")])
def test_disjoint_rationales_score_0(reference: str, given: str) -> None:
    assert [scores(reference, given)[f] for f in FIGURES] == [0] * 4


def test_figures_worked_out_by_hand() -> None:
    # 5 of 6 words match, none is short: BLEU-1 = 5/6. N-grams: 5/6, 3/5, 2/4, 1/3.
    found = scores("the cat sat on the mat", "the dog sat on the mat")
    assert found["bleu1"] == pytest.approx(100 * 5 / 6)
    assert found["bleu4"] == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)
    assert found["rougeL"] == pytest.approx(100 * 5 / 6)
    # Brevity: 2 words against 6, all right: BLEU-1 = exp(1 - 6/2); ROUGE-L: precision 1, recall 1/3.
    short = scores("the cat sat on the mat", "the cat")
    assert short["bleu1"] == pytest.approx(100 * math.exp(-2))
    assert short["bleu4"] == 0
    assert short["rougeL"] == pytest.approx(50)


def test_chinese_is_scored_by_characters() -> None:
    # 磁力更强 against 磁力更弱: 3 of 4 characters; ROUGE-L the same.
    found = scores("磁力更强。", "磁力更弱。")
    assert found["bleu1"] == pytest.approx(75)
    assert found["rougeL"] == pytest.approx(75)
    assert 0 < found["tfidf_cosine"] < 100
    assert words("用GPT-2看图，3个球") == ["用", "gpt", "2", "看", "图", "3", "个", "球"]


@pytest.mark.filterwarnings(r"ignore:\s*The hypothesis contains 0 counts")
@pytest.mark.parametrize("order", [1, 4])
@pytest.mark.parametrize(
    ("reference", "given"),
    [
        ("Look at the map. Ohio is farthest north.", "Look at the map. Ohio is farthest west of all states."),
        ("The force is stronger because the distance is smaller.", "The distance is smaller."),
        ("a b c d e f", "a b c d e f a b c d e f"),
    ],
)
def test_bleu_agrees_with_the_reference_codes_nltk(reference: str, given: str, order: int) -> None:
    nltk_bleu = pytest.importorskip("nltk.translate.bleu_score")

    def split(text: str) -> list[str]:
        return [t for t in text.replace(".", " ").split() if t]

    expected = nltk_bleu.sentence_bleu([split(reference)], split(given), (1 / order,) * order)
    assert bleu(reference, given, order) == pytest.approx(100 * expected, abs=1e-9)


def test_only_known_references_count() -> None:
    examples = [
        example("1", "Iron is magnetic and wood is not."),
        example("2", None),
        example("3", "Iron is magnetic and wood is not.", lecture=None),
        example("4", ""),
        example("5", "Iron is magnetic and wood is not."),
    ]
    text = "Iron is magnetic and wood is not."
    rationales = {"1": text, "2": text, "3": "", "4": text, "5": None}
    found = rationale_metrics(examples, [Answer(i, "", 0, rationale=r) for i, r in reversed(rationales.items())])
    assert {k: v for k, v in found.items() if k not in FIGURES} == {
        "count": 2,
        "without_reference": 2,
        "without_rationale": 1,
        "lecture_unknown": 1,
        "empty": 1,
    }
    assert [found[f] for f in FIGURES] == pytest.approx([50] * 4), "an empty rationale scores 0, it is not skipped"


def test_nothing_to_score_is_none_not_zero() -> None:
    found = rationale_metrics([example("1", None)], [Answer("1", "", 0, rationale="x")])
    assert found["count"] == 0
    assert [found[f] for f in FIGURES] == [None] * 4


def test_reference_is_lecture_then_solution() -> None:
    assert reference_rationale(example("1", " s ", lecture="l")) == "l\ns"
    assert reference_rationale(example("1", "s", lecture=None)) == "s"
    assert reference_rationale(example("1", "", lecture="")) is None
