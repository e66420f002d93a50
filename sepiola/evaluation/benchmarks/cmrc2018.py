"""CMRC 2018 (Cui et al., 2019, arXiv 1810.07366): a Chinese passage and a question; the answer is a span of it.

Exact match and F1 are the official ones (ymcui/cmrc2018, `cmrc2018_evaluate.py`), the best over the references:
marks are left out, Chinese is cut into characters and the rest into words (NLTK's, here without its sentence
splitter), and F1 is that of the longest common run of segments. Shots come from the trial set.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sepiola.datasets.cmrc2018 import passages
from sepiola.errors import SepiolaError
from sepiola.evaluation.benchmarks.prompted import Prompted
from sepiola.evaluation.prompting.item import PromptItem, PromptSet
from sepiola.evaluation.prompting.task import Generate
from sepiola.text.answers import read_open

_MARKS = "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』"
_NO_MARKS = str.maketrans("", "", _MARKS)
_CHINESE = re.compile(r"([\u4e00-\u9fa5])")


def read(root: Path) -> PromptSet:
    """The questions of `cmrc2018_dev.json`, with shots from `cmrc2018_trial.json`."""
    return PromptSet(_items(root / "cmrc2018_dev.json"), _items(root / "cmrc2018_trial.json"))


def compare(answer: str, references: Sequence[str]) -> dict[str, float]:
    """Exact match and F1, the best over the references."""
    bare = [_bare(reference) for reference in references]
    return {
        "exact_match": float(_bare(answer) in bare),
        "f1": max(_f1(segments(answer), segments(reference)) for reference in references),
    }


def segments(text: str) -> list[str]:
    """The text in Chinese characters and other words, marks left out. Needs the extra `eval`."""
    try:
        from nltk import word_tokenize
    except ImportError:
        raise SepiolaError("the F1 of CMRC 2018 needs nltk: pip install 'sepiola[eval]'") from None
    found: list[str] = []
    for part in _CHINESE.split(_bare(text)):
        found += [part] if _CHINESE.match(part) else word_tokenize(part, preserve_line=True)
    return found


def _bare(text: str) -> str:
    return text.lower().strip().translate(_NO_MARKS)


def _f1(given: Sequence[str], wanted: Sequence[str]) -> float:
    common = _longest_run(given, wanted)
    return 2 * common / (len(given) + len(wanted)) if common else 0.0


def _longest_run(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest run of segments that stands in both."""
    longest, before = 0, [0] * (len(second) + 1)
    for segment in first:
        now = [0] + [before[j] + 1 if segment == other else 0 for j, other in enumerate(second)]
        longest, before = max(longest, *now), now
    return longest


def _items(path: Path) -> tuple[PromptItem, ...]:
    items = []
    for context, questions in passages(path):
        for asked in questions:
            prompt = f"短文：{context.strip()}\n问题：{asked.text.strip()}\n答案："
            items.append(PromptItem(asked.id, prompt, asked.answers[0], references=asked.answers, head=HEAD))
    return tuple(items)


HEAD = "阅读短文，用短文中的原话回答问题。\n\n"
BENCHMARK = Prompted(
    "dev", read, Generate(stops=("\n",), tokens=64, read=lambda text, item: read_open(text) or None, compare=compare)
)
