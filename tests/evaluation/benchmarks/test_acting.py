"""The benchmark of calls: declared functions, asked of random weights, and what it measures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sepiola.acting.functions import Function
from sepiola.data.example import Example
from sepiola.datasets import read
from sepiola.evaluation.benchmarks import benchmark_of, measure
from sepiola.evaluation.benchmarks.settings import Settings
from sepiola.specs.data import DataSpec
from tests.tiny import byte_model, llama


def test_declared_functions_are_asked_for(data_root: Path) -> None:
    root = data_root / "act" / "bfcl"
    examples = [e for c in ("simple_python", "irrelevance") for e in read("bfcl", root, "test", categories=[c])[:3]]
    settings = Settings(DataSpec(reader="bfcl", root=str(root), split="test"), read=lambda spec: examples)
    model = byte_model(llama())
    assert benchmark_of(model, settings) == "acting"
    figures = measure(model, settings).figures
    acting = figures["acting"]
    assert (acting["mode"], acting["count"], acting["unparsed"]) == ("declared", 6, 0)
    assert acting["name"]["count"] == 3 and acting["irrelevant"]["recall"]["count"] == 3
    assert acting["cost"]["tokens_out"] > 0 and figures["count"] == 6


class Right:
    """Chooses the right function, as a perfect retriever would."""

    def __init__(self, examples: list[Example]) -> None:
        self.called = {e.messages[-1].text: [call["name"] for call in e.metadata["calls"]] for e in examples}

    def choose(self, text: str, functions: Sequence[Function]) -> list[str]:
        return self.called[text] or [functions[0].name]


def test_a_retriever_chooses_before(data_root: Path) -> None:
    root = data_root / "act" / "bfcl"
    examples = read("bfcl", root, "test", categories=["multiple"])[:3]
    spec = DataSpec(reader="bfcl", root=str(root), split="test")
    settings = Settings(spec, read=lambda spec: examples, retriever=Right(examples))
    acting = measure(byte_model(llama()), settings).figures["acting"]
    assert acting["offered"]["value"] == 1.0 and acting["nearest"]["count"] == 3
    alone = measure(byte_model(llama()), Settings(spec, read=lambda spec: examples)).figures["acting"]
    assert "offered" not in alone and acting["cost"]["tokens_in"] < alone["cost"]["tokens_in"]
