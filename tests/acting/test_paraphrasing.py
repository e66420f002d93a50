"""Which paraphrases are kept: all values stand in them, in both languages, and they mean the same calls."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from sepiola.acting import paraphrasing
from sepiola.acting.functions import functions_of
from sepiola.acting.paraphrasing import (
    REASONS,
    means,
    paraphrases_asked,
    paraphrases_in,
    phrasing,
    reading_in,
    said_values,
    stands,
)
from sepiola.calling.functions import Call


def feed(pet: Literal["cat", "dog"], grams: Annotated[int, Field(ge=1, le=900)] = 100, note: str | None = None) -> None:
    """Feeds a pet."""


FUNCTIONS = functions_of([feed])
CALL = {"name": "feed", "arguments": {"pet": "cat", "grams": 250}}


def test_values_stand_as_whole_words() -> None:
    assert stands("7", "at 7 pm") and not stands("7", "at 17 pm") and not stands("7", "at 70 pm")
    assert stands("7", "7点叫我") and stands("王芳", "给王芳发短信") and not stands("Ann", "text Anna")
    assert stands("3.5", "3.5 kg") and stands("什么?", "问他什么?")


def test_values_of_calls_are_found_in_the_request() -> None:
    assert said_values([CALL], "Feed the cat 250 grams") == (["250", "cat"], True)
    assert said_values([CALL], "给cat喂二百五十克") == (["cat"], False)
    nested = {
        "name": "f",
        "arguments": {"items": [{"what": "oat milk", "count": 2}], "room": "living_room", "on": True},
    }
    assert said_values([nested], "2 oat milk for the living room") == (["living room", "oat milk", "2"], False)
    assert said_values([], "What is love?") == ([], True)


def test_the_question_names_the_values_in_the_request_s_language() -> None:
    english = paraphrases_asked("Feed the cat", "en", ["cat"])
    assert 'letter by letter: "cat".' in english and english.endswith("Request: Feed the cat")
    assert '"猫"' in paraphrases_asked("喂猫", "zh", ["猫"]) and "letter by letter" not in paraphrases_asked(
        "x", "en", []
    )


def test_answers_are_read_line_by_line() -> None:
    answer = '1. Give the cat food\n- "Feed my cat"\n\n3) “喂猫”\n4. one too many'
    assert paraphrases_in(answer) == ["Give the cat food", "Feed my cat", "喂猫"]
    assert paraphrases_in('"a" or "b"\n2 cats want food') == ['"a" or "b"', "2 cats want food"]
    assert paraphrases_in("") == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Could you give 250 grams to the cat", ""),
        ("…!", "empty"),
        ("请给cat喂250克食物，谢谢你", "language"),
        ("Please " * 40 + "cat 250", "long"),
        ("Could you give 25 grams to the cat", "value"),
        ("feed the cat: 250 grams!", "same"),
    ],
)
def test_what_is_wrong_with_a_paraphrase(text: str, fault: str) -> None:
    assert paraphrasing.fault_of(text, "Feed the cat 250 grams.", "en", ["250", "cat"]) == fault
    assert not fault or fault in REASONS


def test_phrasings_are_the_same_for_other_values() -> None:
    assert phrasing("Feed the cat, 250 g!", ["250", "cat"]) == phrasing("feed the dog 9 g", ["dog", "9"])
    assert phrasing("给王芳发短信", ["王芳"]) != phrasing("发短信给王芳", ["王芳"])


def test_readings_are_lists_of_calls() -> None:
    fenced = '```json\n[{"name": "feed", "arguments": {"pet": "cat"}}]\n```'
    assert reading_in(fenced) == [Call("feed", {"pet": "cat"})]
    assert reading_in("None: []") == []
    for answer in (
        "",
        "feed",
        '{"name": "feed"}',
        "[1]",
        '[{"name": "feed", "arguments": 3}]',
        "][",
        "[" * 99_999 + "]",
    ):
        assert reading_in(answer) is None


def test_the_same_is_called_whatever_the_order_and_the_defaults() -> None:
    right = [CALL, {"name": "feed", "arguments": {"pet": "dog"}}]
    cat = Call("feed", {"pet": "cat", "grams": 250})
    assert means(right, [Call("feed", {"pet": "dog", "grams": 100}), cat], FUNCTIONS)
    assert means([], [], FUNCTIONS)
    for wrong in ([cat], [cat, cat], [cat, Call("feed", {"pet": "dog", "grams": 90})], [cat, Call("eval", {})],
                  [cat, Call("feed", {"pet": "dog", "speed": 1})]):  # fmt: skip
        assert not means(right, wrong, FUNCTIONS)
    assert not means([], [cat], FUNCTIONS)
