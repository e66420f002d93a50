"""Made-up functions are many, described in two languages, and those of a split are in no other."""

from __future__ import annotations

from sepiola.acting.inventing import invent
from sepiola.acting.synthesis import synthesize
from sepiola.acting.wording import is_chinese
from sepiola.calling.functions import declared


def test_functions_are_distinct_and_described() -> None:
    made = invent(300, "train")
    assert made == invent(300, "train") != invent(300, "train", seed=1)
    assert len({f["name"] for f in made}) == 300
    assert sum(is_chinese(f["description"]) for f in made) == 150
    assert all(function.description for function in declared([{"function": f} for f in made]))


def test_things_of_a_split_are_in_no_other() -> None:
    things = {split: {f["name"].partition("_")[2] for f in invent(200, split)} for split in ("train", "test")}
    assert not things["train"] & things["test"] and len(things["test"]) > 10


def test_requests_can_be_made_for_them() -> None:
    functions = invent(40, "test")
    requests = synthesize(functions, "test", 160, kinds=("text", "several", "near miss"))
    called = [call["name"] for request in requests for call in request.metadata["calls"]]
    assert len(set(called)) > 30 and {request.metadata["language"] for request in requests} == {"en", "zh"}
