"""One reader of answers: what people write, in English and Chinese, and what must not be taken for an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sepiola.text.answers import read_choice, read_open

ANIMALS = ("cat", "dog", "black cat")
CHINESE = ("猫", "狗", "黑猫")

SAID = {
    # the letter
    "The answer is (A).": 0,
    "The answer is A.": 0,
    "The answer is: B": 1,
    "A": 0,
    "a": 0,
    "B.": 1,
    "(b)": 1,
    "b)": 1,
    "[B]": 1,
    "(B) dog": 1,
    "B) dog": 1,
    "A. cat": 0,
    "A.cat": 0,
    "A: cat": 0,
    "B - dog": 1,
    "B\nIt has a collar.": 1,
    "B, because it barks.": 1,
    "Answer: B": 1,
    "answer: b)": 1,
    "Answer:(C)": 2,
    "**B**": 1,
    "**Answer:** B": 1,
    "$\\boxed{B}$": 1,
    "The correct answer is **(B) dog**.": 1,
    "The correct option is B.": 1,
    "Option B": 1,
    "I would choose B.": 1,
    "I think it's B.": 1,
    "The answer is A because it purrs.": 0,
    "The answer is A dog": 1,
    "B is correct.": 1,
    "(A) is wrong. (B) is the right one.": 1,
    "It is not (A) but (B).": 1,
    "It barks, so (B).": 1,
    "<think>Is it (A)? No.</think>\n\nB": 1,
    "A. cat\nB. dog\nC. black cat\nAnswer: B": 1,
    "The answer is A. No, wait: the answer is B.": 1,
    # the option's text
    "cat": 0,
    "Cat.": 0,
    "“Dog”": 1,
    "a dog": 1,
    "A dog": 1,
    "The dog.": 1,
    "A dog is in the picture.": 1,
    "The answer is dog.": 1,
    "It is a black cat.": 2,
    "The picture shows a BLACK  CAT on a sofa.": 2,
    "It is not a cat, it is a dog.": 1,
    "There isn't a cat, only a dog.": 1,
    # nothing, or too much
    "": None,
    "A bird is in the picture.": None,
    "I see a bird.": None,
    "I": None,
    "Z": None,
    "D.": None,
    "A or B": None,
    "A, B": None,
    "Both (A) and (B)": None,
    "The answer is A or B.": None,
    "a cat and a dog": None,
    "Not a dog.": None,
    "A. cat\nB. dog\nC. black cat": None,
    "category": None,
    "Vitamin B is in the picture.": None,
    "<think>It may be (B)": None,
    "The animal is a bird, as in option": None,
}

SAID_IN_CHINESE = {
    "答案是B": 1,
    "答案：（B）": 1,
    "答案为 Ｂ。": 1,
    "选B": 1,
    "应选B，因为它在叫。": 1,
    "我选择（B）": 1,
    "B。": 1,
    "Ｂ、狗": 1,
    "（B）狗": 1,
    "B.狗": 1,
    "选项B正确": 1,
    "正确答案是：B": 1,
    "因此，正确选项是 B。": 1,
    "不选A，选B。": 1,
    "狗": 1,
    "狗。": 1,
    "答案是狗。": 1,
    "图中有一只黑猫。": 2,
    "不是猫，是狗。": 1,
    "「狗」": 1,
    "答案是A或B": None,
    "A和B": None,
    "有猫也有狗。": None,
    "不是狗。": None,
    "一只鸟": None,
    "我不知道": None,
}

YES_OR_NO = {
    "Yes": 0,
    "yes.": 0,
    "Yes, there is a cat in the picture.": 0,
    "There is a cat in the picture.": 0,
    "The answer is yes.": 0,
    "(A)": 0,
    "A": 0,
    "B. no": 1,
    "No": 1,
    "No, there is not.": 1,
    "There is not a cat. Yes, none.": 1,
    "There isn't a cat in the picture.": 1,
    "I see no cat": 1,
    "Nothing of the kind can be told.": None,
    "A cat": None,
    "kdjf": None,
    "Now": None,
    "是": 0,
    "是的，有。": 0,
    "有一只猫。": 0,
    "没错": 0,
    "不是": 1,
    "否": 1,
    "没有猫。": 1,
    "图中没有猫，有狗。": 1,
    "不知": None,
    "猫": None,
}


@pytest.mark.parametrize(("said", "choice"), SAID.items())
def test_choices_are_read_as_people_name_them(said: str, choice: int | None) -> None:
    assert read_choice(said, ANIMALS) == choice


@pytest.mark.parametrize(("said", "choice"), SAID_IN_CHINESE.items())
def test_choices_are_read_as_people_name_them_in_chinese(said: str, choice: int | None) -> None:
    assert read_choice(said, CHINESE) == choice


@pytest.mark.parametrize(("said", "choice"), YES_OR_NO.items())
def test_yes_and_no_are_read_in_the_first_sentence(said: str, choice: int | None) -> None:
    for choices in (("yes", "no"), ("有", "没有"), ("是", "否")):
        if said != "B. no":
            assert read_choice(said, choices) == choice
        if said not in ("(A)", "A", "B. no"):
            assert read_choice(said, choices[::-1]) == (None if choice is None else 1 - choice)


@pytest.mark.parametrize(
    ("said", "choices", "choice"),
    [
        ("3", ("2", "3", "13"), 1),
        ("3.", ("2", "3", "13"), 1),
        ("(3)", ("2", "3", "13"), 1),
        ("The answer is 13.", ("2", "3", "13"), 2),
        ("There are 3 of them.", ("2", "3", "13"), 1),
        ("There are 1,300 of them.", ("1", "300"), None),
        ("It is 3.5 cm long.", ("3", "3.5 cm", "5"), 1),
        ("A", ("2", "3"), 0),
        ("B", ("B", "A"), 1),
        ("a", ("the", "a"), 1),
        ("She is a doctor.", ("a", "an"), None),
        ("Sample B", ("Sample A", "Sample B"), 1),
        ("Vitamin C helps.", ("Vitamin A", "Vitamin B", "Vitamin C"), 2),
        ("not soluble", ("soluble", "not soluble"), 1),
        ("It is soluble.", ("soluble", "not soluble"), 0),
        ("E. coli is a bacterium.", ("plants", "bacterium"), 1),
        ("I like dogs", ("cats", "dogs", "c", "d", "e", "f", "g", "h", "i"), 1),
        ("yes", ("Yes", "No", "Maybe"), 0),
        ("it does not", ("true", "false"), None),
    ],
)
def test_options_that_are_numbers_letters_or_parts_of_each_other(
    said: str, choices: tuple[str, ...], choice: int | None
) -> None:
    assert read_choice(said, choices) == choice


def test_letters_name_nothing_where_none_were_shown() -> None:
    assert read_choice("B", ANIMALS, lettered=False) is None
    assert read_choice("(B)", ANIMALS, lettered=False) is None
    assert read_choice("The answer is a dog.", ANIMALS, lettered=False) == 1
    assert read_choice("No.", ("no", "yes"), lettered=False) == 0


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("chair", "chair"),
        ("A chair.", "chair"),
        ("It is a chair.", "chair"),
        ("It's the Chair", "chair"),
        ("The answer is a chair.", "chair"),
        ("Answer: **chair**", "chair"),
        ("<think>Hm.</think> chair", "chair"),
        ("table, chair", "table, chair"),
        ("答案是椅子。", "椅子"),
        ("这是椅子", "椅子"),
        ("3", "3"),
        ("", ""),
    ],
)
def test_an_open_answer_is_read_without_the_words_around_it(said: str, answer: str) -> None:
    assert read_open(said) == answer


@given(st.text(max_size=80), st.lists(st.text(max_size=12), max_size=5), st.booleans())
def test_nothing_makes_the_reader_fail(said: str, choices: list[str], lettered: bool) -> None:
    found = read_choice(said, choices, lettered=lettered)
    assert found is None or 0 <= found < len(choices)
    assert isinstance(read_open(said), str)


@given(
    st.integers(0, 2),
    st.sampled_from(("{}", "({})", "{}.", "The answer is {}.", "选{}", "答案：{}", "{}) x", "**{}**")),
)
def test_every_letter_is_read_in_every_frame(choice: int, frame: str) -> None:
    assert read_choice(frame.format("ABC"[choice]), ANIMALS) == choice
