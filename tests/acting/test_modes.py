"""A model calls by what it was taught: tokens of its own functions, numbers of declared ones, or JSON."""

from __future__ import annotations

import dataclasses
import datetime
import random
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

import sepiola
from sepiola.acting.agent import Agent
from sepiola.acting.declaring import NUMBERS
from sepiola.acting.functions import functions_of
from sepiola.acting.modes import AsJson, Functional, Numbered, mode_of
from sepiola.acting.sets import set_of, taught
from sepiola.api import Model
from sepiola.calling.calls import tokens_of
from sepiola.calling.functions import Call
from sepiola.calling.policy import Policy
from sepiola.datasets import read as read_dataset
from sepiola.errors import CallError, SpecError
from sepiola.text.tokenizer import Tokenizer
from tests.acting.test_agent import TEN, acting_model
from tests.tiny import encoder_decoder


def feed(pet: str) -> str:
    """Feeds a pet."""
    return f"{pet} is fed"


def wake(hour: Annotated[int, Field(ge=0, le=23)]) -> int:
    """在几点叫醒。"""
    return hour


@pytest.fixture(scope="module")
def model() -> Model:
    tokenizer = Tokenizer.train(["feed the cat 叫醒我 Feeds a pet."] * 3, 400, extra=tokens_of(NUMBERS))
    language = {**encoder_decoder(), "vocabulary": tokenizer.vocabulary}
    built = sepiola.build({"name": "reader", "language": language}, seed=2)
    made = Model(built.network, built.spec, tokenizer)
    made.processor = dataclasses.replace(made.processor, functions=())
    return made


def test_the_mode_is_by_what_was_taught() -> None:
    assert isinstance(mode_of(None), AsJson)
    assert isinstance(mode_of(()), Numbered)
    assert isinstance(mode_of(taught(functions_of([feed]))), Functional)


@pytest.mark.parametrize("known", [None, (), taught(functions_of([feed, wake]))], ids=["json", "numbered", "tokens"])
def test_an_agent_of_one_call_makes_neither_none_nor_several(
    model: Model, known: tuple[dict[str, object], ...]
) -> None:
    """Random weights, whose own replies are of any number of calls."""
    asked = Model(model.network, model.spec, dataclasses.replace(model.processor, functions=known))
    counts = [
        {len(Agent(asked, [feed, wake], one_call=one).run(f"request {n}").calls) for n in range(12)}
        for one in (True, False)
    ]
    assert counts[0] == {1} and counts[1] != {1}


def test_an_agent_reads_declared_functions(model: Model) -> None:
    agent = Agent(model, [feed, wake])
    prompt = agent.prompt("7点叫我", (), datetime.date(2024, 5, 1)).prompt
    assert prompt == "0. feed: Feeds a pet. pet\n1. wake: 在几点叫醒. hour\n今天是2024-05-01，星期三。\n7点叫我"
    acted = agent.run("7点叫我", today="2024-05-01")
    assert len(acted.results) == len(acted.calls) <= 8
    assert all(call.name in ("feed", "wake") for call in acted.calls)


def test_numbers_are_those_of_what_is_allowed(model: Model) -> None:
    agent = Agent(model, [feed, wake], Policy(deny=("feed",)))
    assert "feed" not in agent.prompt("wake me", (), datetime.date(2024, 5, 1)).prompt
    assert agent.read("<fn_0>7<fn_end>", agent.phone.today) == [Call("wake", {"hour": 7})]
    with pytest.raises(CallError, match="there are 1 functions"):
        agent.read("<fn_1>cat<fn_end>", agent.phone.today)


def test_functional_calls_are_the_same_under_any_names() -> None:
    """Names stand nowhere that a model reads or writes: with all of them changed it calls as before."""
    rng = random.Random(5)
    renamed = [
        dataclasses.replace(
            function,
            name=f"f{rng.random()}"[:9].replace(".", "_"),
            parameters=tuple(dataclasses.replace(p, name=f"p{place}") for place, p in enumerate(function.parameters)),
        )
        for function in TEN
    ]
    plain = acting_model(encoder_decoder())
    other = Model(plain.network, plain.spec, plain.processor)
    other.processor = dataclasses.replace(plain.processor, functions=taught(renamed))
    names = {function.name: changed.name for function, changed in zip(TEN, renamed, strict=True)}
    agents = [Agent(made, some, Policy(dry_run=True)) for made, some in ((plain, TEN), (other, renamed))]
    called = 0
    for example in read_dataset("tidepool", None, "test", task="phone", size=64, count=8, kinds=["text"]):
        before, after = (agent.run(example.prompt, today="2024-05-01") for agent in agents)
        assert [entry["written"] for entry in before.log if "written" in entry] == [
            entry["written"] for entry in after.log if "written" in entry
        ]
        assert [names[call.name] for call in before.calls] == [call.name for call in after.calls]
        assert [[*call.arguments.values()] for call in before.calls] == [
            [*call.arguments.values()] for call in after.calls
        ]
        called += len(before.calls)
    assert called


def test_it_is_kept_with_the_model(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "kept")
    again = sepiola.load(tmp_path / "kept")
    assert again.processor.functions == () and isinstance(Agent(again, [feed]).mode, Numbered)
    with pytest.raises(SpecError, match="taught no functions; name some"):
        set_of(again.processor.functions)


def test_more_functions_than_numbers_are_refused(model: Model) -> None:
    many = [dataclasses.replace(functions_of([feed])[0], name=f"feed_{number}") for number in range(NUMBERS + 1)]
    with pytest.raises(SpecError, match="41 functions may be called, and this model tells 40 apart"):
        Agent(model, many).run("feed the cat")
