"""Caption metrics: CIDEr-D by hand, BLEU as sacrebleu's own, ROUGE-L by hand, and Chinese by characters."""

from __future__ import annotations

import math

import pytest

from sepiola.errors import DataError
from sepiola.evaluation.metrics.captions import caption_metrics, cider_d


def test_cider_d_by_hand() -> None:
    """Two pictures, so that `a` weighs nothing and all else log 2; two of four orders have n-grams at all."""
    references = [[["a", "b"]], [["a", "c"]]]

    def of(caption: str) -> float:
        return float(cider_d([caption.split(), ["x"]], references)[0])

    assert of("a b") == pytest.approx(10 * 2 / 4)
    assert of("b") == pytest.approx(10 * math.exp(-1 / 72) / 4), "one word shorter"
    assert of("b b") == pytest.approx(10 * 0.5 / 4), "the second b is clipped, and lengthens the vector"
    assert of("a c") == of("a x") == of("") == 0
    several = cider_d([["a", "b"], []], [[["a", "b"], ["d", "e"]], [["a", "c"]]])
    assert several[0] == pytest.approx(10 * 2 / 4 / 2), "the mean over references"
    # Rarity: `b` in two of three pictures weighs log 1.5, `d` in one log 3; the caption shares `b` alone.
    three = cider_d([["b"], ["b"], ["x"]], [[["b", "d"]], [["b"]], [["x"]]])[0]
    cosine = math.log(1.5) / math.hypot(math.log(1.5), math.log(3))
    assert three == pytest.approx(10 * cosine * math.exp(-1 / 72) / 4)


def test_bleu_is_sacrebleus_and_rouge_is_by_hand() -> None:
    bleu = pytest.importorskip("sacrebleu.metrics").BLEU
    captions = ["A dog runs fast on the wet grass.", "Two men, one boat", "a red car"]
    references = [
        ["The dog runs on the wet grass", "A dog is running."],
        ["Two men in one boat sit and fish.", "men in a boat"],
        ["A red car is parked.", "the car is red"],
    ]
    found = caption_metrics(captions, references)
    plain = ["a dog runs fast on the wet grass", "two men one boat", "a red car"]
    others = [[r[i].lower().rstrip(".") for r in references] for i in range(2)]
    for order in range(1, 5):
        expected = bleu(max_ngram_order=order, tokenize="none", smooth_method="none").corpus_score(plain, others).score
        assert found[f"bleu{order}"]["value"] == pytest.approx(expected)
    assert 0 < found["bleu4"]["value"] < found["bleu1"]["value"] < 100
    # dog runs on the wet grass: 6 of 8 and 6 of 7; two men one boat: 4 of 4 and 4 of 8 (1/2, recall of men boat);
    # a red car: 3 of 3 and 3 of 5.
    pairs = [(6 / 8, 6 / 7), (1.0, 1 / 2), (1.0, 3 / 5)]
    scores = [2.44 * p * r / (r + 1.44 * p) for p, r in pairs]
    assert found["rougeL"]["value"] == pytest.approx(100 * sum(scores) / 3)
    for figure in found.values():
        low, high = figure["interval"]
        assert low <= figure["value"] <= high and low < high
    assert found == caption_metrics(captions, references), "the resampling is seeded"


def test_chinese_is_cut_into_characters() -> None:
    references = [["一只狗在草地上跑。"], ["两个人在划船。"]]
    exact = caption_metrics(["一只狗在草地上跑", "两个人在划船"], references)
    assert exact["bleu4"]["value"] == pytest.approx(100) and exact["rougeL"]["value"] == pytest.approx(100)
    # 在 stands in both pictures and weighs nothing; every other n-gram of the caption is its reference's.
    assert exact["cider"]["value"] == pytest.approx(1000)
    part = caption_metrics(["一只猫在草地上跑", ""], references)
    assert 0 < part["bleu1"]["value"] < 60 and 0 < part["cider"]["value"] < 500


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="1 captions and the references of 2 pictures"):
        caption_metrics(["a"], [["a"], ["b"]])
    with pytest.raises(DataError, match="no reference caption"):
        caption_metrics(["a"], [[]])
