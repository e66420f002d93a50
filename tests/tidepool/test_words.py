"""Words of scenes in both languages, and the way back from words to keys."""

from __future__ import annotations

import re

import pytest

from sepiola.tidepool.words import COLOURS, LANGUAGES, SHAPES, SLOTS, join, plural, slot_key, slot_pattern, word


def test_lists_and_plurals_are_those_of_each_language() -> None:
    assert join("en", ["a"]) == "a" and join("en", ["a", "b", "c"]) == "a, b and c"
    assert join("zh", ["红色", "蓝色", "绿色"]) == "红色，蓝色，绿色"
    assert [plural("en", n, "star") for n in (0, 1, 2)] == ["stars", "star", "stars"]
    assert plural("zh", 2, "星形") == "星形"


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_word_leads_back_to_its_key(language: str) -> None:
    for slot, keys in (("colour", COLOURS), ("shape", SHAPES)):
        for key in keys:
            match = re.search(slot_pattern(language, slot), word(language, key))
            assert match is not None and slot_key(language, slot, match[1]) == key
    assert len(set(SLOTS[language]["colour"].values())) > len(COLOURS), "colours that no scene holds are understood"


def test_numbers_are_read_as_digits_and_as_words() -> None:
    read = {"en": ("seven", "07", "0"), "zh": ("两", "12", "零")}
    found = {language: [slot_key(language, "number", text) for text in texts] for language, texts in read.items()}
    assert found == {"en": ["7", "7", "0"], "zh": ["2", "12", "0"]}
    assert re.fullmatch(slot_pattern("en", "shape"), "circles") and not re.search(
        slot_pattern("en", "colour"), "reddish"
    )
