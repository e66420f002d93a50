"""The benchmark of calls: declared functions, asked of random weights, and what it measures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from sepiola.acting.functions import functions_of
from sepiola.acting.sets import functions_named
from sepiola.acting.synthesis import synthesize
from sepiola.calling.calls import write
from sepiola.calling.functions import Call, Function
from sepiola.data.example import Example
from sepiola.datasets import read
from sepiola.errors import SpecError
from sepiola.evaluation.benchmarks import BENCHMARKS, benchmark_of, measure
from sepiola.evaluation.benchmarks.acting import Asking
from sepiola.evaluation.benchmarks.settings import Settings
from sepiola.experiments.agent import described, write_requests
from sepiola.specs.data import DataSpec
from sepiola.tidepool.phone import requests
from tests.acting.test_agent import TEN, acting_model
from tests.experiments.test_agent import FILE
from tests.tiny import byte_model, encoder_decoder, llama


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


def test_one_call_names_what_the_retriever_chose() -> None:
    class Right:
        def choose(self, text: str, functions: Sequence[Function]) -> list[str]:
            return ["google_search"]

    spec, examples = DataSpec(reader="tidepool", split="test"), requests("test", 6, kinds=["text", "several"])
    examples = [dataclasses.replace(e, metadata={**e.metadata, "tools": [f.tool for f in TEN]}) for e in examples]
    settings = Settings(spec, read=lambda spec: examples, retriever=Right(), one_call=True)
    rows = Asking(byte_model(llama()), settings).judged(examples)
    assert [[call.name for call in row.calls or ()] for row in rows] == [["google_search"]] * 6
    assert [row.name for row in rows] == [
        [c["name"] for c in e.metadata["calls"]] == ["google_search"] for e in examples
    ]


def test_functions_of_a_file_are_measured(tmp_path: Path) -> None:
    (tmp_path / "pets.py").write_text(FILE, encoding="utf-8")
    own = functions_named(tmp_path / "pets.py")
    write_requests(tmp_path / "test.jsonl", synthesize(described(own), "test", 16))
    settings = Settings(DataSpec(reader="requests", root=str(tmp_path), split="test"))
    model = acting_model(encoder_decoder(), functions=own)
    assert benchmark_of(model, settings) == "acting"
    acting = measure(model, settings).figures["acting"]
    assert (acting["mode"], acting["count"], acting["untaught"]) == ("functional", 16, 0)
    assert {"en", "zh"} <= set(acting["by"]) and acting["worst"]["function"] in ("feed_pet", "play_song")


@pytest.mark.parametrize("known", [True, False], ids=["functional", "declared"])
def test_what_the_constraint_earns_is_measured_beside(known: bool) -> None:
    examples = requests("test", 4, kinds=["text", "irrelevant"])
    examples = [dataclasses.replace(e, metadata={**e.metadata, "tools": [f.tool for f in TEN]}) for e in examples]
    settings = Settings(DataSpec(reader="tidepool", split="test"), read=lambda spec: examples, unconstrained=True)
    model = acting_model(encoder_decoder() if known else llama(), known)
    figures = measure(model, settings).figures
    found = figures["acting"]["unconstrained"]
    assert (found["count"], figures["unparsed"]) == (4, 0)
    assert found["with"]["value"] == figures["accuracy"] and found["unparsed"] == 4, "random weights write no call"
    assert figures["acting"]["cost"]["timed"] == 4, "latency is that of constrained requests"
    titles = [table["title"] for table in BENCHMARKS["acting"].tables(figures)]
    assert titles == ["Calls", "With and without the constraint"]


def test_calls_are_read_without_the_constraint() -> None:
    (example,) = requests("test", 1, kinds=["text"])
    asking = Asking(acting_model(encoder_decoder()), Settings(DataSpec(reader="tidepool", split="test")))
    said = write([Call(c["name"], c["arguments"]) for c in example.metadata["calls"]], TEN)
    ids = asking.generator.tokenizer.encode_batch([said], special=True)[0]
    asking.generator.engine.generate = lambda *args, **options: [[ids]]  # type: ignore[method-assign]
    (row,) = asking.judged([example], constrained=False)
    assert row.exact


def test_functions_that_the_model_was_not_taught_are_said(tmp_path: Path) -> None:
    own = functions_of([play_song])
    write_requests(tmp_path / "test.jsonl", synthesize(described(own), "test", 8))
    data = DataSpec(reader="requests", root=str(tmp_path), split="test")
    with pytest.raises(SpecError, match="the requests call play_song, and the model was taught amazon_shopping, "):
        measure(acting_model(encoder_decoder()), Settings(data))
    two = acting_model(encoder_decoder(), functions=functions_of([play_song, stop_song]))
    both = [*read("requests", tmp_path, "test"), *requests("test", 2, kinds=["text"])]
    figures = measure(two, Settings(data, read=lambda spec: both)).figures
    assert figures["acting"]["untaught"] == 2
    (table,) = BENCHMARKS["acting"].tables(figures)
    assert "2 requests call functions that the model was not taught" in table["note"]


def play_song(title: Annotated[str, Field(min_length=1, max_length=40)]) -> None:
    """Plays a song."""


def stop_song() -> None:
    """Stops the song."""
