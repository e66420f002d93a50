"""How often a rationale says what the image does not show: the claims of each rationale are checked against
the scene's truth by a judge, and false claims are counted (Multimodal-CoT, arXiv 2302.00923, counts such
rationales by hand; a rendered world such as Tidepool knows its truth, so a judge can count them all).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.evaluation.figures import Figures
from sepiola.evaluation.metrics.accuracy import join_by_id, wilson_interval
from sepiola.evaluation.metrics.bootstrap import ratio_interval
from sepiola.reasoning.answer import Answer

Judge = Callable[[Example, str], tuple[int, int]]
"""Takes an example and a rationale, returns the number of false claims and of all claims."""


def hallucination(
    examples: Sequence[Example],
    answers: Sequence[Answer],
    judge: Judge,
    seed: int = 0,
    resamples: int = 10_000,
) -> Figures:
    """False claims in the rationales.

    Returns `rate` (false claims / all claims) with `interval` (95% percentile bootstrap over rationales),
    `false_per_rationale`, `share_with_false` (rationales with at least one false claim / rationales) with
    `share_interval` (Wilson), the counts `false`, `claims`, `rationales`, `without_claims` (a rationale in
    which the judge finds no claim, which counts in the shares) and `without_rationale` (answers that have
    none; left out). A figure whose denominator is 0 is None. Raises DataError when ids do not match or the
    judge's counts are impossible.
    """
    judged: list[tuple[int, int]] = []
    without = 0
    for example, answer in join_by_id(examples, answers):
        if answer.rationale is None:
            without += 1
            continue
        wrong, claims = judge(example, answer.rationale)
        if not 0 <= wrong <= claims:
            raise DataError(f"example '{example.id}': the judge counts {wrong} false of {claims} claims")
        judged.append((wrong, claims))
    table = np.array(judged, dtype=np.int64).reshape(-1, 2)
    rationales = len(table)
    wrong, claims = (int(total) for total in table.sum(axis=0))
    tainted = int((table[:, 0] > 0).sum())
    return {
        "rate": wrong / claims if claims else None,
        "interval": ratio_interval(table[:, 0], table[:, 1], seed, resamples) if claims else None,
        "false_per_rationale": wrong / rationales if rationales else None,
        "share_with_false": tainted / rationales if rationales else None,
        "share_interval": list(wilson_interval(tainted, rationales)) if rationales else None,
        "false": wrong,
        "claims": claims,
        "rationales": rationales,
        "without_claims": int((table[:, 1] == 0).sum()),
        "without_rationale": without,
    }
