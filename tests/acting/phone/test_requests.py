"""Tidepool's phone requests ask for calls that the phone's functions take."""

from __future__ import annotations

from collections import Counter

from sepiola.acting.phone import functions
from sepiola.tidepool.phone import requests


def test_every_gold_call_is_one_that_its_function_takes() -> None:
    known = {function.name: function for function in functions()}
    given: Counter[tuple[str, str]] = Counter()
    checked: Counter[str] = Counter()
    for split in ("train", "test"):
        for example in requests(split, 2000, kinds=["text", "picture", "several"]):
            for call in example.metadata["calls"]:
                known[call["name"]].check(call["arguments"])
                checked[call["name"]] += 1
                given.update((call["name"], argument) for argument in call["arguments"])
    assert min(checked.values()) > 100
    asked = {(name, parameter.name) for name, function in known.items() for parameter in function.parameters}
    assert set(given) == asked, "every argument of every function is asked for"
