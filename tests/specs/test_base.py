"""Overrides of keys: what is refused, and what is kept."""

from __future__ import annotations

import pytest
from pydantic import Field

from sepiola.errors import SpecError
from sepiola.specs.base import Spec, override
from sepiola.specs.model import ModelSpec
from tests.tiny import RECIPE


@pytest.mark.parametrize(
    "assignment",
    [
        *("steps", "=3", "stages.7.steps=3", "stages.x.steps=3", "name.first=a", "stages.²=5", "stages.-1=5"),
        *("name=[", "name=@x", "description=a: b: c", f"seed={'9' * 5000}", f"stages.{'9' * 5000}=1"),
        *("a." * 3000 + "b=1", "name={a: 1, a: 2}"),
    ],
)
def test_a_malformed_override_is_refused(assignment: str) -> None:
    with pytest.raises(SpecError, match="--set"):
        override(RECIPE, [assignment])


class _Sized(Spec):
    count: int = 1
    rate: float = 1.0
    wide: bool = True


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"count": True}, "'count' is True; expected a number"),
        ({"rate": False}, "'rate' is False; expected a number"),
        ({"count": 1 << 63}, "'count' is 9223372036854775808; expected a number of 64 bits"),
        ({"rate": float("inf")}, "rate: input should be a finite number, got inf"),
        ({"rate": float("nan")}, "rate: input should be a finite number, got nan"),
        ({"count": "x" * 10_000}, "got 'xxx"),
        ({"count": [[[[[["deep"] * 99] * 99] * 99] * 99] * 99]}, "got [[[...], [...]"),
        ({1: 2}, "a key is a text, got 1"),
        ({f"k{i}": i for i in range(5000)}, "… and 4988 more"),
        ({"k" * 100_000: 1}, "unknown key"),
        (["count"], "expected keys and values, got ['count']"),
    ],
)
def test_a_value_that_no_spec_takes_is_shown_in_short(raw: object, message: str) -> None:
    with pytest.raises(SpecError) as error:
        _Sized.parse(raw)
    assert message in str(error.value) and len(str(error.value)) < 2000


def test_numbers_and_truth_values_in_their_place_are_taken() -> None:
    spec = _Sized.parse({"count": (1 << 63) - 1, "rate": 2, "wide": False})
    assert (spec.count, spec.rate, spec.wide) == ((1 << 63) - 1, 2.0, False)


@pytest.mark.parametrize(
    ("assignment", "mend"),
    [
        ("model.language.width=3", "--set 'model={like: mm-cot-tiny}'"),
        ("strategy.answer.by=score", "--set 'strategy.answer={kind: answer}'"),
        ("seeds=[1", "--set seeds=[1: not valid YAML"),
    ],
)
def test_an_override_under_a_name_says_how_it_gets_keys(assignment: str, mend: str) -> None:
    with pytest.raises(SpecError) as error:
        override(RECIPE, [assignment])
    assert mend in str(error.value)


def test_an_override_says_which_option_is_wrong() -> None:
    with pytest.raises(SpecError, match=r"^--option size: expected key\.path=value"):
        override({}, ["size"], "--option")


def test_an_override_keeps_the_original_and_the_order_of_keys() -> None:
    changed = override(RECIPE, ["stages.0.steps=9", "model=t5-small", "extra.deep=[1, 2]"])
    assert changed["stages"][0]["steps"] == 9 and RECIPE["stages"][0]["steps"] == 2
    assert changed["extra"] == {"deep": [1, 2]}
    assert list(changed)[: len(RECIPE)] == list(RECIPE)


def test_a_kind_that_is_none_names_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"bridge\.kind: unknown kind 'projektion'; did you mean 'projection'\?"):
        ModelSpec.parse({"bridge": {"kind": "projektion"}})


def test_a_list_is_not_said_to_be_too_short_for_what_is_wrong_in_it() -> None:
    class Member(Spec):
        steps: int

    class Whole(Spec):
        members: tuple[Member, ...] = Field(min_length=1)

    with pytest.raises(SpecError) as caught:
        Whole.parse({"members": [{"stepz": 1, "steps": 2}]})
    assert str(caught.value) == "spec: members[0].stepz: unknown key; did you mean 'steps'?"
    with pytest.raises(SpecError, match=r"members: expected a list of at least 1, got \[\]"):
        Whole.parse({"members": []})


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ({"names": "vision"}, "names: expected a list, got 'vision'"),
        ({"names": [3]}, "names[0]: expected a text, got 3"),
        ({"inner": "tokenizer.json"}, "inner: expected keys and values, got 'tokenizer.json'"),
        ({"table": [1]}, "table: expected keys and values, got [1]"),
    ],
)
def test_what_is_expected_is_said_in_yamls_words(raw: object, fault: str) -> None:
    class Inner(Spec):
        steps: int = 0

    class Whole(Spec):
        names: tuple[str, ...] = ()
        inner: Inner = Inner()
        table: dict[str, int] = Field(default_factory=dict)

    with pytest.raises(SpecError) as caught:
        Whole.parse(raw)
    assert str(caught.value) == f"spec: {fault}"
