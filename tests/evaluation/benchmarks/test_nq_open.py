"""NQ-open: how answers are normalised and compared."""

from __future__ import annotations

from sepiola.evaluation.benchmarks import nq_open
from sepiola.evaluation.prompting.item import PromptItem


def test_nq_open_leaves_articles_punctuation_case_and_accents_form_out() -> None:
    assert nq_open.normalised("  The Beatles' (UK)  album, “A” ") == "beatles uk album “ ”"
    assert nq_open.compare("the W. S.!", ("Shakespeare", "W. S."))["exact_match"] == 1.0
    assert nq_open.compare("Beyonce\u0301", ("Beyonc\u00e9",))["exact_match"] == 1.0
    assert nq_open.compare("William Shakespeare", ("Shakespeare",))["exact_match"] == 0.0
    read = nq_open.BENCHMARK.scoring.read
    item = PromptItem("q", "Where?", "the sea")
    assert read(" It is the sea.\n", item) == "sea" and read("  ", item) is None
