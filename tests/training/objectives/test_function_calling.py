"""A recipe teaches calls as functional tokens, and what it leaves is an agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sepiola
from sepiola.acting.phone import functions
from sepiola.data.example import Example, Message
from sepiola.errors import TrainingError
from sepiola.training.objectives.function_calling import FunctionCallingSpec, called
from tests.tiny import encoder_decoder, recipe, run_recipe


def phone_recipe(steps: int = 3) -> dict[str, Any]:
    data = {
        "reader": "tidepool",
        "count": 40,
        "options": {"task": "phone", "size": 64, "kinds": ["text", "irrelevant"]},
    }
    stage = {
        "name": "calls",
        "objective": {"kind": "function-calling", "functions": "phone"},
        "learn": ["language"],
        "data": data,
        "steps": steps,
        "batch": 8,
        "source_tokens": 96,
        "target_tokens": 96,
        "optimizer": {"learning_rate": 1.0e-3},
    }
    model = {"name": "agent", "language": {**encoder_decoder(), "vocabulary": 600}}
    return recipe("agent", model, [stage], tokenizer={"vocabulary": 600})


def test_a_recipe_leaves_an_agent(tmp_path: Path) -> None:
    model = sepiola.load(run_recipe(phone_recipe(), tmp_path))
    assert model.require_tokenizer().id_of("<fn_9>") is not None
    assert [f["name"] for f in model.processor.functions or ()] == [f.name for f in functions()]
    acted = sepiola.Agent(model, functions()).run("给王芳发短信说我会晚到", today="2024-05-01")
    assert len(acted.results) == len(acted.calls)


def test_targets_are_calls_in_tokens() -> None:
    search = {"name": "google_search", "arguments": {"query": "鱿鱼"}}
    example = Example("e", (Message("user", ("搜鱿鱼",)),), "", metadata={"calls": [search]})
    assert called(example, functions()).target.startswith("<fn_2>鱿鱼")
    nothing = Example("e", (Message("user", ("hello",)),), "", metadata={"calls": []})
    assert called(nothing, functions()).target == "<fn_none><fn_end>"


def test_what_stands_in_quotes_is_written_in_the_tokens_of_its_request() -> None:
    message = {"name": "send_text_message", "arguments": {"to": "Bob", "message": "duck pond"}}
    example = Example("e", (Message("user", ('text "duck pond" to Bob',)),), "", metadata={"calls": [message]})
    assert called(example, functions()).target == "<fn_1> Bob<fn_sep>duck pond<fn_end>"


def test_examples_without_fitting_calls_are_refused() -> None:
    with pytest.raises(TrainingError, match="e: no calls"):
        called(Example("e", (Message("user", ("x",)),), ""), functions())
    wrong = {"calls": [{"name": "google_search", "arguments": {"qeury": "x"}}]}
    with pytest.raises(TrainingError, match="no argument 'qeury'"):
        called(Example("e", (Message("user", ("x",)),), "", metadata=wrong), functions())


def test_a_set_that_is_none_is_refused() -> None:
    with pytest.raises(sepiola.errors.SpecError, match="no set"):
        FunctionCallingSpec(kind="function-calling", functions="phon").tokens()
