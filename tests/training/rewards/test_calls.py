"""Rewards of calls and of the phone's end state: right calls, near ones, too many, none, and what is no call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sepiola.acting.phone import functions
from sepiola.calling.calls import write
from sepiola.calling.functions import Call
from sepiola.data.example import Example, Message
from sepiola.errors import DataError
from sepiola.tidepool.phone import requests
from sepiola.training.rewards import Written, reward_of, reward_spec

TEXT = {"to": "Anna", "message": "I will be late"}
SEND = Call("send_text_message", TEXT)


def example(*calls: Call) -> Example:
    said = [call.to_json() for call in calls]
    return Example("e", (Message("user", ("…",)),), "", metadata={"calls": said, "today": "2026-03-02"})


def said(*calls: Call) -> Written:
    """The calls as the policy writes them in functional tokens, which are left out of the bare text."""
    return Written("…", write(calls, functions()), True)


def worth(kind: str, right: Example, text: Written, **spec: Any) -> float:
    (value,) = reward_of(reward_spec({"kind": kind, **spec})).score([right], [text])
    return value


@pytest.mark.parametrize("kind", ["calls", "end-state"])
@pytest.mark.parametrize(
    "right, written, expected",
    [
        ([SEND], [SEND], 1),
        ([SEND], [Call("send_text_message", {**TEXT, "to": "Ben"})], 0),
        ([SEND], [], 0),
        ([SEND], [SEND, SEND], 0),
        ([SEND, Call("google_search", {"query": "天气"})], [Call("google_search", {"query": "天气"}), SEND], 1),
        ([], [], 1),
        ([], [SEND], 0),
    ],
)
def test_the_very_calls_are_worth_one(kind: str, right: list[Call], written: list[Call], expected: float) -> None:
    assert worth(kind, example(*right), said(*written)) == expected


@pytest.mark.parametrize("kind", ["calls", "end-state"])
@pytest.mark.parametrize("text", ["", "Sure, done!", "<fn_1>Anna", "<fn_none>", "好的。", '[{"name": "rm"}]'])
def test_what_is_no_call_is_worth_nothing_even_where_none_was_asked(kind: str, text: str) -> None:
    assert worth(kind, example(), Written(text, text, True)) == 0
    assert worth(kind, example(SEND), Written(text, text, True)) == 0


def test_calls_as_json_count_alike() -> None:
    text = json.dumps([SEND.to_json()])
    assert worth("calls", example(SEND), Written(text, text, True)) == 1
    assert worth("calls", example(), Written("[]", "[]", True)) == 1


def test_a_default_that_is_named_is_the_one_that_is_left_out() -> None:
    search = next(f for f in functions() if f.name == "google_search")
    optional = next(p for p in search.parameters if not p.required)
    named = Call("google_search", {"query": "squid", optional.name: optional.default})
    assert worth("calls", example(Call("google_search", {"query": "squid"})), said(named)) == 1


def test_partial_pays_for_the_name_and_the_share_of_arguments() -> None:
    right = example(SEND)
    pay = {"partial": True}
    other = Call("send_text_message", {**TEXT, "to": "Ben"})
    assert worth("calls", right, said(SEND), **pay) == 1
    assert worth("calls", right, said(other), **pay) == 0.5 + 0.5 * 0.5
    assert worth("calls", right, said(Call("google_search", {"query": "Anna"})), **pay) == 0
    assert worth("calls", right, said(other, SEND), **pay) == 0.5, "the right one is found, and one is too many"
    assert worth("calls", example(), said(SEND), **pay) == 0


def test_tidepools_own_calls_reach_the_end_state() -> None:
    asked = requests("train", 60)
    rewards = [
        worth(kind, e, said(*(Call(c["name"], c["arguments"]) for c in e.metadata["calls"])))
        for e in asked
        for kind in ("calls", "end-state")
    ]
    assert rewards == [1.0] * 120


@pytest.mark.parametrize("kind", ["calls", "end-state"])
def test_data_without_calls_are_refused(kind: str) -> None:
    with pytest.raises(DataError, match=r"no calls .metadata 'calls'., by which a reward of calls judges"):
        worth(kind, Example("e", (), "t"), said(SEND))


def test_data_that_call_other_functions_are_refused() -> None:
    with pytest.raises(DataError, match="the data call 'rm', which is no function of the reward"):
        worth("calls", example(Call("rm", {})), said(SEND))
