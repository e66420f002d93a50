"""GSM8K: the number that an answer names, and when it is right."""

from __future__ import annotations

from sepiola.evaluation.benchmarks import gsm8k


def test_gsm8k_reads_the_number_after_the_marks() -> None:
    assert gsm8k.read_answer("so 3*400 = 1,200.\n#### 1,200") == "1200"
    assert gsm8k.read_answer("#### -7\nQuestion: next #### 9") == "-7"
    assert gsm8k.read_answer("#### 3.50") == "3.50" and gsm8k.read_answer("the answer is 5") is None
    assert gsm8k.compare("1200", ("1200",)) == {"accuracy": 1.0} and gsm8k.compare("", ("5",)) == {"accuracy": 0.0}
