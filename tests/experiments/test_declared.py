"""`sepiola act train` without functions: made-up ones, requests for them, and a model that reads declarations."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

import sepiola
from sepiola.datasets import read
from sepiola.experiments.agent import write_requests
from sepiola.experiments.declared import DECLARED, declared_requests, train_declared

SMALL = ("stages.0.steps=2", "stages.0.batch=4", "stages.0.objective.prompts=20", "tokenizer.vocabulary=600",
         "evaluation.0.count=4")  # fmt: skip


def test_requests_of_the_test_set_declare_others(tmp_path: Path) -> None:
    made = {split: declared_requests(split, 80) for split in ("train", "test")}
    assert made["train"] == declared_requests("train", 80)
    for split, some in made.items():
        write_requests(tmp_path / f"{split}.jsonl", some)
        for example in read("requests", tmp_path, split):
            names = [tool["function"]["name"] for tool in example.metadata["tools"]]
            called = {call["name"] for call in example.metadata["calls"]}
            assert called <= set(names) and len(names) == len(set(names))
            if split == "test":
                assert len(names) == max(DECLARED, len(called))
    declared = {
        split: {tool["function"]["name"] for e in some for tool in e.metadata["tools"]} for split, some in made.items()
    }
    assert not declared["train"] & declared["test"]


def test_it_is_trained_and_measured(tmp_path: Path) -> None:
    report = train_declared(tmp_path / "run", console=Console(quiet=True), count=120, changes=SMALL)
    assert report["acting"]["mode"] == "declared, by number" and report["acting"]["count"] == 4
    assert sepiola.load(tmp_path / "run").processor.functions == ()
