"""Tidepool's phone requests ask for calls that the phone's functions take."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model

from sepiola.acting.phone import apis
from sepiola.tidepool.phone import FUNCTIONS, requests


def arguments_of(function: str) -> type[BaseModel]:
    """The arguments of a function of the phone as a model: unknown ones are refused."""
    parameters = list(inspect.signature(getattr(apis, function), eval_str=True).parameters.values())[1:]
    fields: dict[str, Any] = {p.name: (p.annotation, ... if p.default is p.empty else p.default) for p in parameters}
    return create_model(function, __config__=ConfigDict(extra="forbid"), **fields)


def test_every_gold_call_is_one_that_its_function_takes() -> None:
    models = {function: arguments_of(function) for function in FUNCTIONS}
    checked: Counter[str] = Counter()
    given: Counter[tuple[str, str]] = Counter()
    for split in ("train", "test"):
        for example in requests(split, 2000, kinds=["text", "picture", "several"]):
            for call in example.metadata["calls"]:
                models[call["name"]].model_validate(call["arguments"])
                checked[call["name"]] += 1
                given.update((call["name"], argument) for argument in call["arguments"])
    assert min(checked.values()) > 100
    asked = {(name, argument) for name, model in models.items() for argument in model.model_fields}
    assert set(given) == asked, "every argument of every function is asked for"
