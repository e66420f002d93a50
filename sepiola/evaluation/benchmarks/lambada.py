"""LAMBADA (Paperno et al., 2016, arXiv 1606.06031): the last word of a passage, in the file that OpenAI prepared.

The last word is what follows the last space, as in GPT-2's evaluation. GPT-3 found that the fill-in-the-blank form
shows a model that one word is wanted: here `lambada_cloze`, and its few-shot figures are in that form. There is no
second file to take shots from: with shots, the last 100 passages are kept for them and are not tested.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sepiola.datasets.records import json_lines
from sepiola.evaluation.benchmarks.prompted import Prompted
from sepiola.evaluation.prompting.item import PromptItem, PromptSet
from sepiola.evaluation.prompting.task import Predict

KEPT = 100


def read(root: Path, *, cloze: bool) -> PromptSet:
    """The passages of `lambada_test.jsonl`, each up to its last word."""
    passages = [record["text"] for record in json_lines(root / "lambada_test.jsonl", "text")]
    items = tuple(_item(f"test-{number}", text, cloze) for number, text in enumerate(passages))
    return PromptSet(items, items[-KEPT:])


def _item(id: str, text: str, cloze: bool) -> PromptItem:
    context, _, word = text.rpartition(" ")
    return PromptItem(id, f"{context} ____. ->" if cloze else context, f" {word}")


PLAIN = Prompted("test", partial(read, cloze=False), Predict())
CLOZE = Prompted("test", partial(read, cloze=True), Predict())
