"""How right a reply to an instruction is, 0 to 1, by the kind of instruction.

A translation is scored by chrF (Popović 2015, by sacrebleu), entities by the F1 of `name: value` pairs, reading
comprehension by the F1 of words and Chinese characters (SQuAD's), a class by its very name. An open reply is scored by
ROUGE-L, which tells how much of one reference was written, and not whether another reply is good.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from sepiola.errors import SepiolaError
from sepiola.evaluation.metrics.rationales import rouge_l, words
from sepiola.text.answers import normalised

_PAIRS = re.compile(r"[;；\n]")


def score(kind: str, reply: str, reference: str) -> float:
    """One reply's score, of the first line of what was written but where the reply is open."""
    given = reply.strip() if kind == "generation" else first_line(reply)
    return SCORES[kind](given, reference)


def first_line(text: str) -> str:
    """The first line that says something: a model that was never tuned does not know where to end."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _chrf(given: str, reference: str) -> float:
    try:
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise SepiolaError("the score of translations needs sacrebleu: pip install 'sepiola[eval]'") from None
    return float(CHRF().sentence_score(given, [reference]).score) / 100


def _f1(given: Sequence[str], wanted: Sequence[str]) -> float:
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted)) if common else 0.0


def _entities(text: str) -> list[str]:
    parts = (pair.replace("：", ":").partition(":") for pair in _PAIRS.split(text) if pair.strip())
    return [f"{normalised(name)}:{normalised(value)}" for name, _, value in parts]


SCORES: dict[str, Callable[[str, str], float]] = {
    "translation": _chrf,
    "entities": lambda given, wanted: _f1(_entities(given), _entities(wanted)),
    "comprehension": lambda given, wanted: _f1(words(given), words(wanted)),
    "classification": lambda given, wanted: float(normalised(given) == normalised(wanted)),
    "generation": lambda given, wanted: rouge_l(given, wanted),
}
