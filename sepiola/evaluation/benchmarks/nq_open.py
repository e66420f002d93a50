"""NQ-open (Lee et al., 2019, arXiv 1906.00300): questions that people asked a search engine, answered from memory.

An answer is right when it equals one of the references after the official normalisation (google-research/language,
`orqa/utils/eval_utils.py`): decomposed Unicode, small letters, no punctuation, no articles, single spaces. Shots come
from EfficientQA's development set.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from sepiola.datasets.records import json_lines
from sepiola.evaluation.benchmarks.prompted import Prompted
from sepiola.evaluation.prompting.item import PromptItem, PromptSet
from sepiola.evaluation.prompting.task import Generate
from sepiola.text.answers import read_open

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def read(root: Path) -> PromptSet:
    """The questions of `NQ-open.dev.jsonl`, with shots from `NQ-open.efficientqa.dev.1.1.jsonl`."""
    shots = root / "NQ-open.efficientqa.dev.1.1.jsonl"
    return PromptSet(_items(root / "NQ-open.dev.jsonl", "dev"), _items(shots, "efficientqa"))


def normalised(text: str) -> str:
    """The text as answers are compared."""
    plain = unicodedata.normalize("NFD", text).lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def compare(answer: str, references: Sequence[str]) -> dict[str, float]:
    """Whether the answer equals any of the references."""
    return {"exact_match": float(normalised(answer) in map(normalised, references))}


def _items(path: Path, split: str) -> tuple[PromptItem, ...]:
    return tuple(
        PromptItem(
            f"{split}-{number}",
            f"Q: {record['question'].rstrip('?')}?\nA:",
            f" {record['answer'][0]}",
            references=tuple(record["answer"]),
        )
        for number, record in enumerate(json_lines(path, "question", "answer"))
    )


BENCHMARK = Prompted(
    "dev", read, Generate(stops=("\n",), tokens=32, read=lambda text, item: read_open(text) or None, compare=compare)
)
