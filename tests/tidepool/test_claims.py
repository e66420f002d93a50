"""Claims that can be checked: true of the own scene, false of another, and any text read."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.tidepool import FAMILIES, check, claims, generate, hallucinated
from sepiola.tidepool.canvas import PALETTE


@pytest.fixture(scope="module")
def train() -> list[Example]:
    return generate("train", 3600, size=64)


def test_own_texts_make_true_claims(train: list[Example]) -> None:
    made = Counter()
    for e in train:
        for text in (e.question.solution, e.metadata["caption"]):
            found = claims(text, e.metadata["language"], e.metadata["family"])
            assert found, text
            assert all(check(claim, e.metadata["scene"]) for claim in found), (text, found)
            made[e.metadata["family"], e.metadata["language"]] += 1
    assert len(made) == 2 * len(FAMILIES)
    assert min(made.values()) >= 200


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_texts_of_another_scene_are_found_false(family: str, language: str) -> None:
    examples = generate("train", 200, families=[family], languages=[language], size=64)
    flagged = {"solution": 0, "caption": 0}
    for e, other in zip(examples, examples[1:] + examples[:1], strict=True):
        flagged["solution"] += hallucinated(e, other.question.solution)[0] > 0
        flagged["caption"] += hallucinated(e, other.metadata["caption"])[0] > 0
    assert flagged["caption"] > 0.8 * len(examples)
    # Of two magnet pairs one has the smaller gap, and two facing ends have three cases: half is true by luck.
    assert flagged["solution"] > (0.45 if family == "magnets" else 0.65) * len(examples)


def one(family: str, language: str = "en") -> Example:
    return generate("train", 1, families=[family], languages=[language], size=64)[0]


def test_what_is_not_in_the_scene_is_false() -> None:
    spring = one("springs")
    shown = [s["colour"] for s in spring.metadata["scene"]["springs"]]
    absent = next(colour for colour in PALETTE if colour not in shown)
    assert hallucinated(spring, f"The {absent} spring looks bent.") == (1, 1)
    assert hallucinated(spring, f"The {shown[0]} spring looks bent.") == (0, 1)
    assert hallucinated(spring, "An orange spring and a brown spring.") == (2, 2)
    assert hallucinated(one("springs", "zh"), "橙色弹簧最短。") == (1, 1)
    thermometer = one("thermometers")
    assert hallucinated(thermometer, "The left thermometer shows 70 °C.") == (1, 1)
    assert hallucinated(one("thermometers", "zh"), "左边温度计显示70℃，右边的温度计显示 80 °C") == (2, 2)
    assert hallucinated(one("counting"), "The picture shows nine red diamonds.") == (1, 1)
    assert hallucinated(one("charts"), "The pink bar is the tallest.") == (1, 1)
    assert hallucinated(one("relations"), "The sea is deep.") == (0, 0)


def test_claims_are_read_through_case_and_spaces() -> None:
    e = one("charts")
    bar = e.metadata["scene"]["bars"][0]
    assert hallucinated(e, f"so THE  {bar['colour'].upper()} bar\nreaches line {bar['value']}") == (0, 1)
    e = one("charts", "zh")
    text = e.question.solution
    assert claims(" ".join(text), "zh", "charts")[0].values == claims(text, "zh", "charts")[0].values


def test_claims_need_a_known_family_and_scene() -> None:
    with pytest.raises(DataError, match="family 'boats'"):
        claims("text", "en", "boats")
    with pytest.raises(DataError, match="language 'fr'"):
        claims("text", "fr", "maps")
    with pytest.raises(DataError, match="no scene"):
        hallucinated(Example("x", (), ""), "The red bar is the tallest.")


GARBLE = st.one_of(st.text(max_size=80), st.integers(0, 10**6))


@settings(max_examples=150, deadline=None)
@given(GARBLE, st.sampled_from(list(FAMILIES)), st.sampled_from(["en", "zh"]))
def test_garbled_text_never_raises(noise: str | int, family: str, language: str) -> None:
    examples = {e.metadata["language"]: e for e in SMALL[family]}
    text = noise
    if isinstance(noise, int):  # a true caption, shuffled and cut
        rng = random.Random(noise)
        source = examples[language].metadata["caption"]
        parts = source.split() if language == "en" else list(source)
        parts = [rng.choice(parts) for _ in parts]
        text = (" " if language == "en" else "").join(parts)
    false, made = hallucinated(examples[language], text)
    assert 0 <= false <= made


SMALL = {family: generate("train", 2, families=[family], size=64) for family in FAMILIES}
