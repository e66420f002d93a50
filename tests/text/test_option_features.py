"""Features of options: what they tell, and what they do not depend on."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from sepiola.data.example import Question
from sepiola.specs.conditional_logit import FAMILIES
from sepiola.text.option_features import (
    FEATURES,
    Asked,
    buckets_of,
    common_words,
    hashed,
    hashes,
    numbers,
    option_features,
    template,
    words,
)

BUCKETS = 1 << 20
GUIDE = "Would you find the word {} on a page with these guide words?\nbag - box"


def asked(text: str, *choices: str, hint: str = "", common: frozenset[int] = frozenset()) -> Asked:
    return Asked(Question(text, choices, 0, hint=hint), common)


def kind_says(question: Asked, feature: str) -> set[int]:
    """The places of a family's pair of the question's template and a feature."""
    return {*buckets_of(question.kinds[:1], hashes([feature]), 1 + list(FEATURES).index("order"), BUCKETS).tolist()}


def order_of(question: Asked) -> list[set[int]]:
    return [set(places.tolist()) for places in option_features(question, ["order"], BUCKETS)]


def test_the_families_of_the_spec_are_those_that_there_are() -> None:
    assert tuple(FEATURES) == FAMILIES


def test_words_are_words_numbers_marks_and_chinese_characters() -> None:
    assert words("Don't heat 2.5 kg, 鲸鱼!") == ["don", "'", "t", "heat", "2.5", "kg", ",", "鲸", "鱼", "!"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("no number", []), ("-3°C or 1,250 m", [-3.0, 1250.0]), ("3/4 cup, 2/0", [0.75]), ("5.5 and 60", [5.5, 60.0])],
)
def test_numbers_in_a_text(text: str, expected: list[float]) -> None:
    assert numbers(text) == expected


def test_a_template_leaves_rare_words_and_numbers_out() -> None:
    questions = [Question(f"Which is a {name} of 5?", ("a", "b"), 0) for name in ("fish", "bird")]
    common = frozenset(common_words(questions, least=2))
    assert template("Which is a very large whale of 7?", common) == "which is a _ of _ ?"
    assert hashed("fish") not in common and hashed("which") in common


def test_answers_do_not_depend_on_where_an_option_stands() -> None:
    choices = ("3 apples", "10 pears", "two plums")
    question = "How many fruits does the boy eat?"
    first = dict(
        zip(choices, option_features(asked(question, *choices, hint="He eats."), FAMILIES, BUCKETS), strict=True)
    )
    for order in permutations(choices):
        for option, places in zip(
            order, option_features(asked(question, *order, hint="He eats."), FAMILIES, BUCKETS), strict=True
        ):
            assert sorted(places) == sorted(first[option])


@pytest.mark.parametrize(("word", "pattern"), [("beach", "1/0/2"), ("apple", "0/1/2"), ("cat", "2/0/1")])
def test_guide_words_are_told_by_the_order_of_the_alphabet(word: str, pattern: str) -> None:
    common = frozenset(hashed(each) for each in words(GUIDE) if each not in ("{", "}"))
    question = asked(GUIDE.format(word), "yes", "no", common=common)
    yes, no = order_of(question)
    assert kind_says(question, f"FL{pattern}>yes") <= yes and kind_says(question, f"FL{pattern}>no") <= no


def test_options_are_ranked_by_the_number_that_tells_them_apart_and_by_ratios() -> None:
    question = asked("Which car was fastest?", "100 km in 2 hours", "100 km in 5 hours", "100 km in 4 hours")
    found = order_of(question)
    for places, rank, ratio in zip(found, (0, 2, 1), (2, 0, 1), strict=True):
        assert kind_says(question, f"num9:{rank}/2") <= places
        assert kind_says(question, f"num2:{ratio}/2") <= places
        assert not kind_says(question, "num0:0/0") <= places


def test_a_family_that_is_not_named_leaves_no_feature() -> None:
    question = asked("哪一个是哺乳动物?", "鲸鱼", "金鱼")
    whole = option_features(question, FAMILIES, BUCKETS)
    assert all(len(places) == 0 for places in option_features(question, [], BUCKETS))
    parts = [option_features(question, [name], BUCKETS) for name in FAMILIES]
    for option, places in enumerate(whole):
        assert np.array_equal(places, np.concatenate([part[option] for part in parts]))


def test_a_group_is_the_same_for_other_case_spacing_and_order_alone() -> None:
    same = asked("Which  is a FISH?", "Shark", "whale").group
    assert asked("which is a fish?", "Whale", "shark").group == same
    assert asked("which is a fish?", "Whale", "sharks").group != same
