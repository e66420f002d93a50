"""The nearest function by TF-IDF, which any choice must beat."""

from __future__ import annotations

from pathlib import Path

from sepiola.data.example import Example, Message
from sepiola.datasets import read
from sepiola.evaluation.baselines.functions import nearest_functions


def example(text: str) -> Example:
    tools = [
        {"type": "function", "function": {"name": name, "description": description, "parameters": {}}}
        for name, description in (("a", "Gets the weather of a city."), ("b", "预订火车票"), ("c", "Plays a song."))
    ]
    return Example(text, (Message("user", (text,)),), "", metadata={"tools": tools})


def test_what_shares_most_is_chosen() -> None:
    asked = [example("weather in Oslo"), example("帮我订火车票"), example("play songs")]
    assert nearest_functions(asked) == ["a", "b", "c"]


def test_published_requests(data_root: Path) -> None:
    """What it earns on BFCL's `live_multiple`: a figure below it shows nothing."""
    examples = read("bfcl", data_root / "act" / "bfcl", "test", categories=["live_multiple"])
    nearest = nearest_functions(examples)
    right = [e.metadata["calls"][0]["name"] == name for e, name in zip(examples, nearest, strict=True)]
    assert len(right) == 1053 and 0.84 < sum(right) / 1053 < 0.87
