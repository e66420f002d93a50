"""GSM8K: the number that an answer names, and when it is right."""

from __future__ import annotations

import pytest

from sepiola.evaluation.benchmarks import gsm8k
from sepiola.evaluation.prompting.item import PromptItem


def test_gsm8k_reads_the_number_after_the_marks() -> None:
    assert gsm8k.read_answer("so 3*400 = 1,200.\n#### 1,200") == "1200"
    assert gsm8k.read_answer("#### 3.50") == "3.50" and gsm8k.read_answer("the answer is 5") is None
    assert gsm8k.compare("1200", ("1200",)) == {"accuracy": 1.0} and gsm8k.compare("", ("5",)) == {"accuracy": 0.0}


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("so 3*400 = 1,200.\n#### 1,200", "1200"),
        ("#### -7\nQuestion: next #### 9", "-7"),
        ("#### 7.0", "7.0"),
        ("#### 7.", "7"),
        ("First 2 + 3.\n\nThe answer is **$1,200**.", "1200"),
        ("<think>#### 4</think>So it costs \\boxed{18}", "18"),
        ("#### 4\n#### 5", None),
        ("First he has 5, then", None),
        ("He has 5 apples. He gives", None),
        ("I cannot tell.", None),
    ],
)
def test_a_reply_is_read_as_it_is_written(said: str, answer: str | None) -> None:
    assert gsm8k.read_reply(said, PromptItem("q", "How many?", " 1")) == answer
