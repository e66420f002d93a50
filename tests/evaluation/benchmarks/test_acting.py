"""The benchmark of calls: declared functions, asked of random weights, and what it measures."""

from __future__ import annotations

from pathlib import Path

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
