"""Open values: many of them, in their language, each of one split."""

from __future__ import annotations

import random
import re

import pytest

from sepiola.tidepool.phone import lexicon_en, lexicon_zh
from sepiola.tidepool.phone.grammar import share_of
from sepiola.tidepool.phone.values import open_value, plural, quoted


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", sorted(lexicon_en.VALUES))
def test_values_are_many_and_of_their_split(kind: str, language: str) -> None:
    assert set(lexicon_en.VALUES) == set(lexicon_zh.VALUES)
    rng = random.Random(0)
    for split, least in (("train", 120), ("test", 60)):
        values = [open_value(kind, language, split, rng) for _ in range(300)]
        assert len(set(values)) > least and all(share_of("value", value) == split for value in values)
        assert all(0 < len(value) <= 80 and "{" not in value and value == value.strip() for value in values)
        if kind not in ("email", "tag"):
            chinese = sum(bool(re.search("[\u4e00-\u9fff]", value)) for value in values)
            assert chinese == 0 if language == "en" else chinese > 250


def test_plurals_and_quotation_marks() -> None:
    said = [plural("en", 2, noun) for noun in ("mug", "box", "battery", "tray", "torch")]
    assert said == ["mugs", "boxes", "batteries", "trays", "torches"]
    assert plural("en", 1, "mug") == "mug" and plural("zh", 3, "杯子") == "杯子"
    rng = random.Random(0)
    assert {quoted("好", "zh", rng) for _ in range(60)} == {"好", "“好”", "「好」", '"好"'}
    assert {quoted("Ann's mug", "en", rng) for _ in range(30)} == {"Ann's mug"}


def test_no_made_up_word_is_a_day() -> None:
    syllables = lexicon_zh.WORDS["syllable"]
    made = {first + second for first in syllables for second in syllables}
    assert not made & {"今天", "明天", "后天", "昨天", "前天", "上周", "下周"} and not set(syllables) & set(
        "一二三四五六七八九十日周"
    )
