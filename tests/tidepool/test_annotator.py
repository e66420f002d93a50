"""An annotator who sees what is true ranks captions by their claims, and marks what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sepiola.data.example import Example
from sepiola.data.preferences import completions_of
from sepiola.tidepool import captions, false_claims
from sepiola.tidepool.annotator import annotated, apart, exchanged_pairs, worth
from sepiola.tidepool.hasty import misname

FAMILIES = ("objects", "counting", "food webs", "thermometers")


def pictures(count: int = 16) -> list[Example]:
    return captions("val", count, families=FAMILIES, size=64)


def test_true_claims_count_and_false_ones_cost() -> None:
    for example in pictures():
        wrong = misname(example)
        assert wrong is not None
        truth = str(example.metadata["caption"])
        less = "." if example.metadata["language"] == "en" else "。"
        found = annotated(example, [wrong, truth, less, truth, " "])
        assert found is not None
        scores = {one.text: one.score for one in completions_of(found)}
        assert list(scores) == [wrong, truth, less], "each text once, and none that is empty"
        assert scores[truth] > scores[wrong], "a false claim costs"
        assert scores[truth] > scores[less] == 0.0, "saying nothing is no better than the truth"
        assert found.target == truth and found.messages == example.messages
        about = example.metadata
        false, every = false_claims(wrong, about["scene"], about["family"], about["language"])
        assert scores[wrong] == worth(example, wrong) == every - 2 * false


def test_what_is_wrong_is_marked_in_both() -> None:
    for example in pictures():
        wrong, truth = misname(example), str(example.metadata["caption"])
        assert wrong is not None
        found = annotated(example, [truth, wrong])
        assert found is not None
        right, other = completions_of(found)
        assert right.corrected and other.corrected
        assert len(other.corrected) < len(wrong) / 4, "and little else"
        mended = wrong
        for (a, b), (c, d) in reversed([*zip(other.corrected, right.corrected, strict=True)]):
            mended = mended[:a] + truth[c:d] + mended[b:]
        assert mended == truth


@pytest.mark.parametrize(
    ("language", "text", "other", "words"),
    [
        ("en", "2 red circles", "3 red squares", ["2", "circle"]),
        ("zh", "2个红色圆形", "3个红色方形", ["2", "圆形"]),
        ("en", "a red", "a red", []),
        ("en", "", "a red", []),
    ],
)
def test_words_are_compared_whole(language: str, text: str, other: str, words: list[str]) -> None:
    assert [text[begin:end] for begin, end in apart(text, other, language)] == words


def test_values_that_have_changed_places_are_worse() -> None:
    found = exchanged_pairs(pictures())
    assert len(found) > 8
    for pair in found:
        right, wrong = completions_of(pair)
        assert right.score > wrong.score and sorted(right.text) == sorted(wrong.text)


def test_texts_that_are_alike_say_nothing() -> None:
    example = pictures(1)[0]
    assert annotated(example, [str(example.metadata["caption"])]) is None
    assert annotated(example, []) is None
    assert annotated(replace(example), ["nothing", "no claim"]) is None
