"""BIG-Bench Hard: the answer at the end of a chain of thought, or in the first line."""

from __future__ import annotations

from sepiola.evaluation.benchmarks import bbh


def test_bbh_reads_what_follows_the_last_the_answer_is() -> None:
    assert bbh.read_chain("\nFirst the answer is 3. But no. So the answer is (B).") == "(B)"
    assert bbh.read_chain(" So the answer is ] } ].") == "] } ]" and bbh.read_chain("We do not know.") is None
    assert bbh.read_chain("The answer is -3.5.\nQ") == "-3.5"
    assert bbh.read_line(" a b c \nQ: more") == "a b c" and bbh.read_line("\n") is None
    assert bbh.compare("a b", ("a b",)) == {"exact_match": 1.0} and bbh.compare("A b", ("a b",)) == {"exact_match": 0.0}
