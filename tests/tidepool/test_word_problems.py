"""Word problems: chains that are true, splits that share neither structures nor sums, the textbook's problem."""

from __future__ import annotations

import re
from functools import lru_cache

import pytest

from sepiola.data.example import Example
from sepiola.datasets import read
from sepiola.errors import DataError
from sepiola.tidepool import hallucinated
from sepiola.tidepool.word_problems import false_sums, textbook, word_problems
from sepiola.tidepool.word_problems.program import Operation, fact_split
from sepiola.tidepool.word_problems.story import EVENTS, OPENINGS, QUESTIONS, SUMS
from sepiola.tidepool.word_problems.wording import NAMES, REASONS, TELLS, THINGS

SIGNS = {"+": int.__add__, "-": int.__sub__, "×": int.__mul__, "÷": int.__floordiv__}


@lru_cache
def problems(split: str, count: int) -> list[Example]:
    return word_problems(split, count, seed=1)


def facts(example: Example) -> set[tuple[int, str, int]]:
    """The sums and differences that a solver works out; a sum's numbers in their order of size."""
    return {
        (min(left, right), sign, max(left, right)) if sign == "+" else (left, sign, right)
        for left, sign, right, _ in example.metadata["operations"]
        if sign in "+-" and 1 not in (left, right)
    }


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_chain_is_true_and_ends_in_the_answer(split: str) -> None:
    for example in problems(split, 72):
        question, operations = example.question, example.metadata["operations"]
        assert question is not None and question.solution is not None
        given = {int(number) for number in re.findall(r"\d+", question.text)}
        known = given | {1, 2}
        for left, sign, right, result in operations:
            exact = sign == "÷" and "left over" not in example.metadata["family"]
            assert SIGNS[sign](left, right) == result and 0 < result <= 50
            assert not exact or left % right == 0
            assert {left, right} <= known, "worked out of what is given, or of what was found before"
            known.add(result)
        assert str(operations[-1][3]) == example.target == question.answer_text
        false, written = false_sums(question.solution)
        assert false == 0 and written == len(operations) - (example.metadata["family"] == "left over")
        assert given <= {n for one in operations for n in one}, "nothing is told in vain"
        sentences = re.findall(r"[^.。]+[.。]", question.solution)
        assert len(sentences) == int(example.metadata["steps"]) and 2 <= len(sentences) <= 5


def test_splits_share_neither_structures_nor_held_out_sums() -> None:
    splits = {split: problems(split, count) for split, count in (("train", 900), ("val", 90), ("test", 90))}
    structures = {split: {e.metadata["structure"] for e in some} for split, some in splits.items()}
    trained = {fact for e in splits["train"] for fact in facts(e)}
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not structures[first] & structures[second]
        assert not {e.prompt for e in splits[first]} & {e.prompt for e in splits[second]}
    for split in ("val", "test"):
        assert all(facts(e) - trained for e in splits[split]), "each asks for something that training never worked out"
    by_rule = [f for e in splits["test"] for f in facts(e) if f in trained]
    assert by_rule, "not all that a held-out problem asks for is new"
    assert len(structures["train"]) > 300 and len(structures["test"]) > 40


def test_both_languages_tell_the_same_problem() -> None:
    english, chinese = (word_problems("train", 36, seed=3, languages=[language]) for language in ("en", "zh"))
    for one, other in zip(english, chinese, strict=True):
        assert one.metadata["operations"] == other.metadata["operations"] and one.target == other.target
        assert re.fullmatch(r"[\x00-\x7f×÷]+", one.prompt + one.question.solution)  # type: ignore[union-attr, operator]
        assert not re.search(r"[A-Za-z ]", other.prompt + other.question.solution)  # type: ignore[union-attr, operator]
        assert not re.search(r"(?:^|[.?] )[a-z]", one.prompt)


def test_every_piece_has_its_sentences_in_both_languages() -> None:
    assert set(TELLS["en"]) == set(TELLS["zh"]) == {*OPENINGS, *EVENTS, *QUESTIONS, *SUMS}
    assert set(REASONS["en"]) == set(REASONS["zh"])
    assert len(NAMES["en"]) == len(NAMES["zh"]) and len(THINGS["en"]) == len(THINGS["zh"])
    for name in TELLS["en"]:
        slots = {tuple(sorted(set(re.findall(r"\{([nmkj])\}", t)))) for some in TELLS.values() for t in some[name]}
        assert len(slots) == 1, f"{name}: every phrase states the same numbers"


def test_the_textbooks_problem_is_solved_in_four_steps_and_held_out() -> None:
    trained = {fact for e in problems("train", 900) for fact in facts(e)}
    for language in ("en", "zh"):
        example = textbook(language)
        assert example.target == "4" and example.metadata["steps"] == "4" and example.metadata["split"] == "test"
        assert re.findall(r"\d+", example.prompt) == ["30", "2", "4", "2"]
        assert facts(example) - trained == {(20, "-", 4), (10, "+", 16)}
        assert example.metadata["structure"] not in {e.metadata["structure"] for e in problems("train", 900)}
    alike = word_problems("test", 400, families=["handover"])
    assert textbook("en").metadata["structure"] in {e.metadata["structure"] for e in alike}
    assert textbook("en").prompt.startswith("Two children share 30 apples: the elder takes 2 times the younger's.")
    assert textbook("zh").question.solution.count("。") == 4  # type: ignore[union-attr]


def test_a_seed_makes_the_same_and_each_index_alone() -> None:
    assert word_problems("train", 12, seed=1) == problems("train", 72)[:12]
    assert word_problems("train", 12, seed=2) != problems("train", 72)[:12]
    first = word_problems("train", 1, seed=0, languages=["en"])[0]
    assert first.prompt == FIRST


FIRST = (
    "Paul has 8 stickers and Sara has 4 times as many. For 2 days Sara uses 7 a day. "
    "How many stickers does Sara have now?"
)


def test_a_share_of_the_problems_is_bare_sums_that_are_not_held_out() -> None:
    mixed = word_problems("train", 300, seed=1, sums=0.4)
    bare = [example for example in mixed if example.metadata["family"] == "sums"]
    assert 90 < len(bare) < 150
    others = [example for example in mixed if example.metadata["family"] != "sums"]
    plain = {example.id: example for example in problems("train", 900)}
    assert all(example == plain[example.id] for example in others), "the others are those that stand there without"
    for example in bare:
        question = example.question
        assert question is not None and question.solution is not None
        given = [int(number) for number in re.findall(r"\d+", question.text)]
        result = given[0]
        for by, (left, sign, right, found) in zip(given[1:], example.metadata["operations"], strict=True):
            assert (left, right) == (result, by) and found == SIGNS[sign](left, right) and 0 < found < 100
            result = found
        assert example.target == str(result) and false_sums(question.solution) == (0, len(given) - 1)
        done = [Operation(sign, left, right, found) for left, sign, right, found in example.metadata["operations"]]
        assert {*map(fact_split, done)} == {"train"}, "no sum that is held out"
    assert {e.metadata["language"] for e in bare} == {"en", "zh"}
    structures = {e.metadata["structure"] for split in ("val", "test") for e in problems(split, 90)}
    assert not structures & {e.metadata["structure"] for e in bare}


def test_choices_hold_the_answer_once_and_steps_on_the_way() -> None:
    offered = word_problems("train", 60, choices=4)
    for example, open_one in zip(offered, word_problems("train", 60), strict=True):
        question = example.question
        assert question is not None and question.answer is not None and question.answer_text is None
        numbers = [int(choice) for choice in question.choices]
        assert numbers == sorted(set(numbers)) and len(numbers) == 4
        assert question.choices[question.answer] == example.target == open_one.target
    places = {e.question.answer for e in offered}  # type: ignore[union-attr]
    assert places == {0, 1, 2, 3}


def test_the_sums_of_a_chain_are_its_claims() -> None:
    assert false_sums("20 - 4 = 16, so 16 ÷ 3 = 5. 两人共7×8=56，5+5=11。") == (2, 4)
    assert false_sums("nothing") == (0, 0) and false_sums("8 ÷ 0 = 0") == (1, 1)
    example = problems("train", 72)[0]
    assert hallucinated(example, "20 - 4 = 15") == (1, 1)


def test_it_is_a_task_of_the_reader() -> None:
    by_reader = read("tidepool", None, "val", count=4, task="word-problems", families=["total"], choices=3)
    assert by_reader == word_problems("val", 4, families=["total"], choices=3)
    for options, message in (
        ({"task": "word-problems", "families": ["prices"]}, "unknown kind of word problem 'prices'"),
        ({"choices": 3}, "choices: options of the task 'word-problems'; the task is 'questions'"),
        ({"task": "word-problems", "choices": 1}, "choices"),
        ({"sums": 0.5}, "sums: options of the task 'word-problems'; the task is 'questions'"),
        ({"task": "word-problems", "sums": 2.0}, "sums"),
    ):
        with pytest.raises(DataError, match=message):
            read("tidepool", None, "val", count=1, **options)
    with pytest.raises(DataError, match="choices: got 1"):
        word_problems("val", 1, choices=1)
