"""BIG-Bench Hard: the answer at the end of a chain of thought, or in the first line."""

from __future__ import annotations

import pytest

from sepiola.evaluation.benchmarks import bbh
from sepiola.evaluation.prompting.item import PromptItem

LETTERED = "Q: Which day is it?\nOptions:\n(A) 05/01/2021\n(B) 05/02/2021\n(C) 05/03/2021\nA:"
LISTED = "Q: Is it so?\nOptions:\n- Yes\n- No\nA:"
OPEN = "Q: not True is\nA:"


def test_bbh_reads_what_follows_the_last_the_answer_is() -> None:
    assert bbh.read_chain("\nFirst the answer is 3. But no. So the answer is (B).") == "(B)"
    assert bbh.read_chain(" So the answer is ] } ].") == "] } ]" and bbh.read_chain("We do not know.") is None
    assert bbh.compare("a b", ("a b",)) == {"exact_match": 1.0} and bbh.compare("a c", ("a b",)) == {"exact_match": 0.0}
    assert bbh.compare("Yes", ("yes",)) == {"exact_match": 1.0}


@pytest.mark.parametrize(
    ("asked", "said", "chain", "answer"),
    [
        (LETTERED, "\nFirst it is (A). So the answer is (B).", True, "(B)"),
        (LETTERED, "Think.\n\n**Answer: B**", True, "(B)"),
        (LETTERED, "Tomorrow, so\n\n\\boxed{B}", True, "(B)"),
        (LETTERED, "The answer is 05/02/2021.", True, "(B)"),
        (LETTERED, "We subtract a day.\n\nTherefore, (C)", True, "(C)"),
        (LETTERED, "B", False, "(B)"),
        (LETTERED, "(B) 05/02/2021\n\nIt is a day later.", False, "(B)"),
        (LETTERED, "It may be (A).\nIt may be (B).\nWho knows", True, None),
        (LETTERED, "Both (A) and (B).", False, None),
        (LISTED, "So the answer is Yes.", True, "Yes"),
        (LISTED, "**No.**", False, "No"),
        (LISTED, "Yes, it is so.", False, "Yes"),
        (LISTED, "I don't know.", False, None),
        (OPEN, " We see. So the answer is False.", True, "False"),
        (OPEN, "<think>True?</think>The answer is **False**.", True, "False"),
        (OPEN, "False", True, "False"),
        (OPEN, "We do not know that.", True, None),
        (OPEN, " a b c \nQ: more", False, "a b c"),
        (OPEN, "The answer is ] } ].", True, "] } ]"),
        (OPEN, "\n", False, None),
        (OPEN, "The answer is -3.5.\nQ", True, "-3.5"),
    ],
)
def test_a_reply_is_read_as_it_is_written(asked: str, said: str, chain: bool, answer: str | None) -> None:
    assert bbh.read_reply(said, PromptItem("q", asked, " x"), chain=chain) == answer
