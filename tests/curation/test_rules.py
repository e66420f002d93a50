"""Rules: what makes a text bad, in either language, and what disagrees."""

from __future__ import annotations

import pytest

from sepiola.curation.rules import disagreeing, fault_of

GOOD = {"en": "A red circle stands on the left of a blue square.", "zh": "红色的圆形在蓝色的正方形的左边。"}


@pytest.mark.parametrize(
    ("text", "language", "reason"),
    [
        (GOOD["en"], "en", None),
        (GOOD["zh"], "zh", None),
        ("A dog runs... then it sleeps on the warm grass.", "en", None),
        ("一只狗慢慢地走在草地上……然后睡着了。", "zh", None),
        ("A red circle \ufffd\ufffd stands on the left.", "en", "characters"),
        ("红色的圆形 ### 在左边的上面。", "zh", "characters"),
        ("红色的圆形在左边的上面。", "en", "language"),
        ("There is a red circle here.", "zh", "language"),
        ("There is a dog. It is big. There is a dog.", "en", "repetition"),
        ("红色的圆形红色的圆形红色的圆形。", "zh", "repetition"),
        ("A red circle stands on the left of the", "en", "fragment"),
        ("红色的圆形在左边，还有", "zh", "fragment"),
        ("", "en", "fragment"),
        ("A dog.", "en", "short"),
        ("有狗。", "zh", "short"),
        ("Here one can see many small things that all lie on a very wide green lawn today.", "en", "long"),
    ],
)
def test_bad_texts_have_a_reason(text: str, language: str, reason: str | None) -> None:
    assert fault_of(text, language, cut=False, shortest=5, longest=16 if language == "en" else 40) == reason


def test_a_text_that_the_limit_cut_is_a_fragment() -> None:
    assert fault_of(GOOD["en"], "en", cut=True, shortest=1, longest=99) == "fragment"


def test_the_best_share_is_of_each_language() -> None:
    scores, languages = [9.0, 8.0, 7.0, 1.0, 2.0], ["en", "en", "en", "zh", "zh"]
    assert disagreeing(scores, languages, keep=0.5, threshold=None) == {2, 3}
    assert disagreeing(scores, languages, keep=None, threshold=7.0) == {3, 4}
