"""GSM8K (Cobbe et al., 2021, arXiv 2110.14168): grade-school word problems; the solution is written out in steps.

An answer is the number after ####, without its commas, read as by the official code (openai/grade-school-math,
`dataset.py`); where a reply has none, the number that it ends in. Shots are solved problems of the training set.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sepiola.datasets.records import json_lines
from sepiola.errors import DataError
from sepiola.evaluation.benchmarks.prompted import Prompted
from sepiola.evaluation.prompting.item import PromptItem, PromptSet
from sepiola.evaluation.prompting.task import Generate
from sepiola.text.answers import read_number
from sepiola.text.replies import answer_of

_ANSWER = re.compile(r"#### (\-?[0-9\.\,]+)")


def read(root: Path) -> PromptSet:
    """The problems of `test.jsonl`, with shots from `train.jsonl`."""
    return PromptSet(_items(root / "test.jsonl"), _items(root / "train.jsonl"))


def read_answer(text: str) -> str | None:
    """The number after ####, its commas left out; None when there is none."""
    found = _ANSWER.search(text)
    return found[1].replace(",", "").rstrip(".") if found else None


def read_reply(text: str, item: PromptItem) -> str | None:
    """The number of a reply, up to a further problem that a base model goes on with; None when none can be found."""
    reply = answer_of(text)
    solved = reply.partition("\nQuestion:")[0]
    solved = solved if _ANSWER.search(solved) else reply
    several = len(set(_ANSWER.findall(solved))) > 1
    return (None if several else read_answer(solved)) or read_number(solved)


def compare(answer: str, references: Sequence[str]) -> dict[str, float]:
    """The same digits: "7.0" is not "7", as in the official code."""
    return {"accuracy": float(answer in references)}


def _items(path: Path) -> tuple[PromptItem, ...]:
    items = []
    for number, record in enumerate(json_lines(path, "question", "answer")):
        reference = read_answer(record["answer"])
        if reference is None:
            raise DataError(f"{path}, record {number + 1}: the answer has no number after ####")
        prompt = f"Question: {record['question']}\nAnswer:"
        items.append(PromptItem(f"{path.stem}-{number}", prompt, f" {record['answer']}", references=(reference,)))
    return tuple(items)


BENCHMARK = Prompted("test", read, Generate(stops=("\n\n", "Question:"), tokens=512, read=read_reply, compare=compare))
